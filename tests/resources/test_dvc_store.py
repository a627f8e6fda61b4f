"""The embedded store: what is in its Git repository heals, and the real `git` and `dvc` open it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from test_store_faults import ASSETS, FORK, harm, run
from tiny_artifacts import publish, text_of, texts, write

from llm_assets.errors import UserError
from resources.dvc_store import DvcStore
from resources.store import MAIN, lineage

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def store(tmp_path: Path) -> DvcStore:
    return DvcStore(tmp_path / "store")


def objects(store: DvcStore) -> list[Path]:
    return sorted((store.root / "repo.git" / "objects").glob("[0-9a-f][0-9a-f]/*"))


@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_a_damaged_git_object_is_named_and_replaced_from_its_copy(store, how, caplog):
    publish(store, "run/1", raw="1")
    publish(store, "run/2", raw="2", clean="2")
    before, contents = texts(store, MAIN), {path: path.read_bytes() for path in objects(store)}
    for path in contents:
        caplog.clear()
        harm(path, how)
        assert texts(store, MAIN) == before
        assert texts(store, "v1") == {"raw": "1"}
        store.collect([], dry_run=True)
        assert str(path) in caplog.text
        assert path.read_bytes() == contents[path]
    git(store.root / "repo.git", "fsck", "--strict", "--no-dangling")


def test_a_git_object_that_is_damaged_with_its_copy_is_named(store):
    publish(store, "run/1", raw="1", clean="2")
    record = next(path for path in objects(store) if b'"fingerprint": "clean-2"' in zlib.decompress(path.read_bytes()))
    copy = store.root / "repo.git" / "copies" / record.relative_to(store.root / "repo.git")
    kept = record.read_bytes()
    for path in (record, copy):
        harm(path, "flip")
    with pytest.raises(UserError, match=f"{record.parent.name}{record.name}.*damaged"):
        store.heads(MAIN)
    assert store.find("clean", "clean-2") is None
    assert store.find("raw", "raw-1") is not None
    record.write_bytes(kept)
    assert texts(store, MAIN) == {"raw": "1", "clean": "2"}


@pytest.mark.parametrize("how", ["flip", "truncate"])
def test_a_damaged_reference_is_read_from_its_copy_and_healed(store, how):
    publish(store, "run/1", raw="1")
    store.open_branch("run/2")
    write(store, "run/2", "raw", "2", "raw-2")
    for ref in (path for path in (store.root / "repo.git" / "refs").rglob("*") if path.is_file()):
        harm(ref, how)
    assert texts(store, MAIN) == texts(store, "v1") == {"raw": "1"}
    assert texts(store, "run/2") == {"raw": "2"}
    assert text_of(store, store.find("raw", "raw-2")) == "2"
    assert store.publish("run/2", "2").name == "v2"
    publish(store, "run/3", raw="3")
    assert [release.name for release in store.releases()] == ["v3", "v2", "v1"]
    assert git(store.root / "repo.git", "log", "-1", "--format=%s", MAIN).strip() == "run/3"


def test_a_reference_that_is_damaged_with_its_copy_is_named(store):
    publish(store, "run/1", raw="1")
    for name in ("heads/main", "versions/raw/raw-1/*"):
        for ref in (store.root / "repo.git").rglob(f"refs/{name}"):
            harm(ref, "flip")
    with pytest.raises(UserError, match=r"refs/heads/main .* is damaged"):
        store.heads(MAIN)
    assert store.find("raw", "raw-1") is None


def test_nothing_is_collected_while_the_files_of_a_kept_version_are_unknown(store):
    publish(store, "run/1", raw="1")
    store.open_branch("run/2")
    write(store, "run/2", "raw", "2", "raw-2")
    head = store.heads(MAIN)["raw"]
    harm(next(store.root.rglob(f"files/md5/*/{head.data_version[2:]}")), "flip")
    with pytest.raises(UserError, match=f"{head.data_version} is to stay.*no content was removed"):
        store.collect([])
    assert texts(store, "run/2") == {"raw": "2"}
    write(store, "run/2", "raw", "1", "raw-1")
    assert store.collect([]).branches == ["run/1", "run/2"]
    assert texts(store, MAIN) == {"raw": "1"}


def test_a_lost_head_is_written_again(store):
    publish(store, "run/1", raw="1")
    (store.root / "repo.git" / "HEAD").unlink()
    assert texts(store, MAIN) == {"raw": "1"}
    publish(store, "run/2", raw="2")
    assert texts(store, "v1") == {"raw": "1"}


def test_locks_and_half_written_files_of_dead_writers_are_in_nobodys_way(store):
    publish(store, "run/1", raw="1")
    repo = store.root / "repo.git"
    for name in ("heads/main", "heads/run/2", "tags/v2", "bases/run/2", "versions/raw/raw-2/x"):
        (repo / "refs" / name).parent.mkdir(parents=True, exist_ok=True)
        (repo / "refs" / f"{name}.lock").write_text("")
    (repo / "packed-refs.lock").write_text("")
    (repo / "refs" / "tags" / "v1").unlink()
    assert texts(store, "v1") == {"raw": "1"}, "the newest release is there without its tag"
    left = [
        repo / "objects" / "00" / "tmp_obj_1",
        store.root / "cache/files/md5/00" / "0.partial",
        store.root / "checkouts" / "0.partial" / "a.txt",
    ]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left")
    publish(store, "run/2", raw="2")
    assert (repo / "refs" / "tags" / "v1").exists()
    assert store.collect(["run/2"]).branches == ["run/1"]
    assert not any(path.exists() for path in left)
    assert texts(store, MAIN) == {"raw": "2"}


def test_after_git_has_packed_the_repository_all_is_as_before(store):
    publish(store, "run/1", raw="1")
    store.open_branch("run/2")
    clean = write(store, "run/2", "clean", "2", "c2", raw=store.heads(MAIN)["raw"])
    git(store.root / "repo.git", "gc", "--quiet", "--prune=now")
    git(store.root / "repo.git", "pack-refs", "--all")
    assert texts(store, "run/2") == {"raw": "1", "clean": "2"}
    assert set(lineage(store, clean)) == {"raw", "clean"}
    store.publish("run/2", "2")
    assert texts(store, MAIN) == texts(store, "v2") == {"raw": "1", "clean": "2"}
    store.collect([])
    assert store.branches() == []
    assert [text_of(store, version) for version in store.versions("clean")] == ["2"]


def killed_at(work: Callable[[], object], operation: int) -> bool:
    """Run `work` in a process that is killed at this one of its file operations; whether it got so far."""

    def begin() -> None:
        count = 0

        def step(event: str, _: object) -> None:
            nonlocal count
            if event in ("open", "os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.chmod"):
                count += 1
                if count == operation:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(step)
        work()

    process = FORK.Process(target=begin)
    process.start()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def whole_run(number: int) -> dict[str, str]:
    return {asset: f"{asset} {number}" for asset in ASSETS}


def kill_a_run(store: DvcStore, operation: int) -> bool:
    killed = killed_at(lambda: run(store, 1), operation)
    assert texts(store, MAIN) in (whole_run(0), whole_run(1))
    run(store, 1)
    assert texts(store, MAIN) == texts(store, "v2") == whole_run(1)
    assert [release.name for release in store.releases()] == ["v2", "v1"]
    return killed


def kill_a_collection(store: DvcStore, operation: int) -> bool:
    killed = killed_at(lambda: store.collect([]), operation)
    assert texts(store, MAIN) == whole_run(0)
    store.collect([])
    assert store.branches() == [] and store.collect([]).freed == 0
    assert {text_of(store, version) for asset in ASSETS for version in store.versions(asset)} == {
        *whole_run(0).values()
    }
    return killed


def kill_an_erasure(store: DvcStore, operation: int) -> bool:
    secret = store.heads(MAIN)["left"]
    killed = killed_at(lambda: store.forget([secret]), operation)
    store.forget([secret])
    with pytest.raises(UserError, match="erased"):
        store.checkout(secret)
    assert not [path for path in store.root.rglob("*") if path.is_file() and b"left 0" in path.read_bytes()]
    assert {text_of(store, store.heads(MAIN)[asset]) for asset in ("middle", "right")} == {"middle 0", "right 0"}
    return killed


def kill_everywhere(store: DvcStore, kill: Callable[[DvcStore, int], bool], stride: int) -> None:
    """Kill something at every `stride`th of its file operations, each time from the same state."""
    run(store, 0)
    store.open_branch("run/9")
    write(store, "run/9", "left", "unpublished", "left-9")
    before = store.root.with_name("before")
    shutil.copytree(store.root, before)
    operation = 1
    while kill(store, operation):
        shutil.rmtree(store.root)
        shutil.copytree(before, store.root)
        operation += stride
    assert operation > 50, "it got through the whole of it"


KILLS = [kill_a_run, kill_a_collection, kill_an_erasure]


@pytest.mark.parametrize("kill", KILLS)
def test_a_kill_anywhere_leaves_all_whole_and_a_rerun_completes(store, kill):
    kill_everywhere(store, kill, stride=53)


@pytest.mark.slow
@pytest.mark.parametrize("kill", KILLS)
def test_a_kill_at_many_file_operations(store, kill):
    kill_everywhere(store, kill, stride=5)


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
