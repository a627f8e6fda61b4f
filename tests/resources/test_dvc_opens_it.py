"""The real `git` and `dvc` on the embedded store, as a person uses them in a clone."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_artifacts import publish, texts, write

from resources.dvc_store import DvcStore
from resources.store import MAIN

ROOT = Path(__file__).resolve().parent.parent.parent
Command = Callable[..., str]


@pytest.fixture(scope="session")
def dvc(tmp_path_factory) -> Command:
    """Runs `dvc` in a folder; its output. DVC and Dagster cannot share an environment, so it has one of its own."""
    found = shutil.which("dvc", path=f"{ROOT / '.venv' / 'dvc' / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("no dvc command in .venv/dvc or on the PATH: `make test` installs it")
    private = tmp_path_factory.mktemp("dvc-home")
    environment = os.environ | {"HOME": str(private), "DVC_NO_ANALYTICS": "1"}
    environment |= {f"DVC_{kind}_CONFIG_DIR": str(private / kind.lower()) for kind in ("GLOBAL", "SYSTEM")}
    environment["DVC_SITE_CACHE_DIR"] = str(private / "site")

    def run(folder: Path, *arguments: str) -> str:
        return _run(folder, found, *arguments, environment=environment)

    return run


def git(folder: Path, *arguments: str) -> str:
    return _run(folder, "git", *arguments)


def _run(folder: Path, *command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def store(tmp_path: Path) -> DvcStore:
    """Two releases: `raw` changed, `clean` stayed, `model` came; and a run under way."""
    store = DvcStore(tmp_path / "store")
    publish(store, "run/1", raw="first", clean="same")
    publish(store, "run/2", raw="second", model="new")
    store.open_branch("run/3")
    write(store, "run/3", "raw", "third", "raw-third")
    return store


@pytest.fixture
def clone(store, tmp_path) -> Path:
    git(tmp_path, "clone", "--quiet", str(store.root / "repo.git"), "a clone")
    return tmp_path / "a clone"


def files(clone: Path) -> dict[str, str]:
    """asset -> what its files in the clone say."""
    found = {}
    for pointer in clone.glob("[!.]*.dvc"):
        folder = clone / pointer.stem
        found[folder.name] = (folder / "a.txt").read_text()
        assert (folder / "sub" / "b.bin").read_text() == found[folder.name] * 3
    return found


def test_git_sees_branches_releases_and_sound_objects(store, clone):
    bare = store.root / "repo.git"
    assert git(bare, "fsck", "--strict", "--full") == ""
    assert git(bare, "tag").split() == ["v1", "v2"]
    assert git(bare, "log", "--first-parent", "--format=%s", MAIN).split("\n")[:3] == [
        "run/2",
        "run/1",
        "llm-assets store",
    ]
    assert set(git(bare, "branch", "--format=%(refname:short)").split()) == {MAIN, "run/1", "run/2", "run/3"}
    assert git(clone, "status", "--porcelain") == ""
    assert git(clone, "rev-parse", "--abbrev-ref", "HEAD").strip() == MAIN


def test_pull_checkout_status_and_diff_in_a_clone(store, clone, dvc):
    dvc(clone, "pull")
    assert files(clone) == texts(store, MAIN) == {"raw": "second", "clean": "same", "model": "new"}
    assert "up to date" in dvc(clone, "status")
    assert "in sync" in dvc(clone, "status", "--cloud")
    assert git(clone, "status", "--porcelain") == "", "what dvc put there is ignored"
    changes = dvc(clone, "diff", "v1", "v2")
    assert changes.index("Added") < changes.index("model/") < changes.index("Modified") < changes.index("raw/")
    assert "clean" not in changes
    git(clone, "checkout", "--quiet", "v1")
    dvc(clone, "fetch")
    dvc(clone, "checkout")
    assert files(clone) == texts(store, "v1") == {"raw": "first", "clean": "same"}
    git(clone, "checkout", "--quiet", "run/3")
    dvc(clone, "pull")
    assert files(clone) == texts(store, "run/3")
    (clone / "raw" / "a.txt").unlink()
    assert "raw" in dvc(clone, "status")
    dvc(clone, "checkout", "--force")
    assert files(clone) == texts(store, "run/3")


def test_push_to_another_remote_and_pull_from_it(store, clone, dvc, tmp_path):
    dvc(clone, "pull", "--all-branches")
    dvc(clone, "remote", "add", "--local", "elsewhere", str(tmp_path / "remote"))
    dvc(clone, "push", "--remote", "elsewhere", "--all-branches", "--all-tags")
    git(tmp_path, "clone", "--quiet", str(clone), "another")
    shutil.move(store.root, tmp_path / "gone")
    dvc(tmp_path / "another", "remote", "add", "--local", "elsewhere", str(tmp_path / "remote"))
    dvc(tmp_path / "another", "pull", "--remote", "elsewhere")
    assert files(tmp_path / "another") == {"raw": "second", "clean": "same", "model": "new"}


def test_dvc_gives_the_same_folder_the_same_version(store, clone, dvc, tmp_path):
    folder = tmp_path / "out"
    for name in ("a.txt", "été/ü 1.txt", "B/z", "a/b/c", "a-b", "empty"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("" if name == "empty" else name)
    shutil.copytree(folder, clone / "out")
    (clone / ".gitignore").unlink()  # dvc tracks no ignored folder
    dvc(clone, "add", "out")
    version = store.write("run/3", "out", folder, fingerprint="out", inputs={}, metadata={})
    assert version.data_version in (clone / "out.dvc").read_text()
    theirs = (clone / "out.dvc").read_text()
    assert git(store.root / "repo.git", "show", "run/3:out.dvc") == theirs
