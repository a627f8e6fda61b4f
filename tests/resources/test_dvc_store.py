"""The embedded store: what is written is read back by exact version, or is not there at all."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

from llm_assets.errors import UserError
from resources.dvc_store import DvcStore
from resources.store import MAIN, history, lineage


def write(store: DvcStore, branch: str, asset: str, text: str, fingerprint: str, **inputs):
    folder = store.root.parent / f"out-{asset}-{fingerprint}-{os.getpid()}"
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_text(text)
    (folder / "sub" / "b.bin").write_bytes(text.encode() * 3)
    return store.write(branch, asset, folder, fingerprint=fingerprint, inputs=inputs, metadata={"summary": {}})


@pytest.fixture
def store(tmp_path: Path) -> DvcStore:
    return DvcStore(tmp_path / "store")


def test_a_version_is_read_back_and_main_sees_it_only_when_published(store):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    assert store.heads(MAIN) == {}
    assert (store.checkout(version) / "a.txt").read_text() == "hello"
    assert (store.checkout(version) / "sub" / "b.bin").read_bytes() == b"hello" * 3
    assert store.publish("run/1", "first") is not None
    assert store.heads(MAIN)["raw"].data_version == version.data_version
    assert store.publish("run/1", "again") is None


def test_equal_content_is_an_equal_version_on_another_machine(store, tmp_path):
    other = DvcStore(tmp_path / "elsewhere" / "store")
    for one in (store, other):
        one.root.mkdir(parents=True)
        one.open_branch("run/1")
    first, second = (write(one, "run/1", "raw", "same", "f") for one in (store, other))
    assert first.data_version == second.data_version


def test_what_was_computed_is_found_by_its_fingerprint_from_any_branch(store):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    assert store.find("raw", "f1") == version
    assert store.find("raw", "other") is None
    store.open_branch("run/2")
    adopted = store.adopt("run/2", version)
    assert store.heads("run/2")["raw"].data_version == version.data_version
    assert adopted.fingerprint == "f1"
    assert store.adopt("run/2", adopted).commit == adopted.commit, "adopting what is there commits nothing"


def test_lineage_names_exact_versions(store):
    store.open_branch("run/1")
    raw = write(store, "run/1", "raw", "1", "f1")
    clean = write(store, "run/1", "clean", "2", "f2", raw=raw)
    write(store, "run/1", "raw", "newer", "f3")
    assert lineage(store, clean)["raw"].data_version == raw.data_version


def test_history_is_newest_first(store):
    for number in "123":
        store.open_branch(f"run/{number}")
        write(store, f"run/{number}", "raw", number, f"f{number}")
        write(store, f"run/{number}", "other", "constant", "g")
        store.publish(f"run/{number}", number)
    assert [release.name for release in store.releases()] == ["v3", "v2", "v1"]
    assert [(r.name, v.fingerprint) for r, v in history(store, "raw")] == [("v3", "f3"), ("v2", "f2"), ("v1", "f1")]
    assert [(r.name, v.fingerprint) for r, v in history(store, "other")] == [("v1", "g")]
    assert (store.checkout(store.heads("v2")["raw"]) / "a.txt").read_text() == "2"


def test_two_runs_publish_without_losing_each_other(store):
    store.open_branch("run/1")
    store.open_branch("run/2")
    write(store, "run/1", "raw", "1", "f1")
    write(store, "run/2", "prompts", "2", "f2")
    store.publish("run/1", "1")
    store.publish("run/2", "2")
    assert set(store.heads(MAIN)) == {"raw", "prompts"}


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_damage_is_named_and_never_read(store, harm):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    stored = next(path for path in store.root.glob("cache/files/md5/*/*") if path.read_bytes() == b"hello")
    stored.chmod(0o644)
    if harm == "flip":
        stored.write_bytes(b"hellp")
    elif harm == "truncate":
        stored.write_bytes(b"hell")
    else:
        stored.unlink()
    with pytest.raises(UserError, match=r"raw version .*a\.txt.*(damaged|missing)"):
        store.checkout(version)
    if harm != "flip":
        again = write(store, "run/1", "raw", "hello", "f1")
        assert (store.checkout(again) / "a.txt").read_text() == "hello"


def test_an_artifact_without_files_is_refused(store, tmp_path):
    store.open_branch("run/1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="wrote no file"):
        store.write("run/1", "raw", tmp_path / "empty", fingerprint="f", inputs={}, metadata={})


def churn(root: Path, number: int) -> None:
    store = DvcStore(root)
    for step in range(1000):
        branch = f"run/{number}-{step}"
        store.open_branch(branch)
        write(store, branch, "left", f"{number}-{step}", f"l{number}-{step}")
        write(store, branch, "right", f"{number}-{step}", f"r{number}-{step}")
        store.publish(branch, branch)


def test_kills_at_random_instants_leave_main_whole(store, tmp_path):
    """Two assets of one run move together, whatever instant the writer is killed at."""
    spawn = multiprocessing.get_context("fork")
    choose = random.Random(7)
    seen = set()
    for number in range(12):
        writer = spawn.Process(target=churn, args=(store.root, number))
        writer.start()
        time.sleep(0.4 + choose.random() * 0.3)
        os.kill(writer.pid, signal.SIGKILL)
        writer.join()
        heads = store.heads(MAIN)
        if heads:
            left, right = (store.checkout(heads[name]) / "a.txt" for name in ("left", "right"))
            assert left.read_text() == right.read_text()
            seen.add(left.read_text())
    assert len(seen) > 3, "the writers got somewhere"
    store.open_branch("run/after")
    write(store, "run/after", "left", "after", "after")
    assert store.publish("run/after", "after") is not None


def test_git_opens_it(store, tmp_path):
    import subprocess

    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    store.publish("run/1", "first")
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(store.root / "repo.git"), str(clone)], check=True)
    assert version.data_version in (clone / "raw.dvc").read_text()
    assert (clone / ".dvc" / "config").exists()
