"""Opening the embedded store's Git repository: to read, or with the right to move references."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from resources import durable, git
from resources.durable import Unsynced
from resources.dvc_records import base_ref, branch_ref, read_release, tag_ref
from resources.store import MAIN

if TYPE_CHECKING:
    from dulwich.objects import ObjectID
    from dulwich.repo import Repo

# What lies in a clone besides pointers and records is DVC's, and the artifacts themselves.
IGNORED = b"/*\n!/.dvc\n!/*.dvc\n!/*.json\n!/.gitignore\n"


@contextmanager
def opened(root: Path) -> Iterator[Repo]:
    from dulwich.repo import Repo

    path = root / "repo.git"
    if not (path / "HEAD").exists():
        with locked(root):
            pass
    repo = Repo(str(path))
    try:
        yield repo
    finally:
        repo.close()


@contextmanager
def locked(root: Path) -> Iterator[Repo]:
    """The repository, with the right to move references."""
    from dulwich.repo import Repo

    root.mkdir(parents=True, exist_ok=True)
    path = root / "repo.git"
    with (root / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (path / "HEAD").exists():
            _make_repository(path)
        repo = Repo(str(path))
        try:
            settle(repo)
            yield repo
        finally:
            repo.close()


def first_commit(repo: Repo, cache: Path, unsynced: Unsynced) -> ObjectID:
    """The first commit: DVC's own configuration, with `cache` as the default remote; `main` is at it."""
    remote = f"['remote \"store\"']\n    url = {cache.resolve()}\n"
    config = git.write_blob(repo, f"[core]\n    remote = store\n    autostage = false\n{remote}".encode(), unsynced)
    local = git.write_blob(repo, b"/config.local\n/tmp\n/cache\n", unsynced)
    folder = git.write_tree(repo, {b"config": config, b".gitignore": local}, unsynced)
    files = {b".dvc": folder, b".gitignore": git.write_blob(repo, IGNORED, unsynced)}
    commit = git.write_commit(repo, files, [], "llm-assets store", unsynced)
    durable.sync_all(unsynced)
    git.move_ref(repo, branch_ref(MAIN), commit, unsynced)
    return commit


def settle(repo: Repo) -> None:
    """Finish the last publication, which a kill may have stopped after it moved `main`."""
    main = git.read_ref(repo, branch_ref(MAIN))
    release = read_release(repo, main) if main else None
    if main is None or release is None:
        return
    unsynced: Unsynced = set()
    if git.read_ref(repo, tag_ref(release.name)) != main:
        git.move_ref(repo, tag_ref(release.name), main, unsynced)
    if git.read_ref(repo, branch_ref(release.branch)) == git.commit_at(repo, main).parents[1]:
        git.move_ref(repo, base_ref(release.branch), main, unsynced)
        git.move_ref(repo, branch_ref(release.branch), main, unsynced)
    durable.sync_all(unsynced)


def _make_repository(path: Path) -> None:
    from dulwich.repo import Repo

    head = f"ref: {branch_ref(MAIN)}\n".encode()
    if path.exists():  # it was whole when it was moved here: only this file is lost
        durable.write(path / "HEAD", head, None)
        return
    partial = path.with_name("repo.git.partial")
    shutil.rmtree(partial, ignore_errors=True)  # an initialisation that was killed
    Repo.init_bare(str(partial), mkdir=True).close()
    (partial / "HEAD").write_bytes(head)
    durable.sync_all({partial, *partial.rglob("*")})
    partial.rename(path)
    durable.sync(path.parent)
