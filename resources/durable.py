"""Files that survive a power cut: on the disk, name and all, before anything refers to them.

Waiting for the disk is slow, and waiting for twelve files at once is hardly slower than for one. So what writes adds to
a set of paths `unsynced`, and whoever is about to refer to all of it calls `sync_all` first. With None for the set, the
disk takes the file when it likes.
"""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

Unsynced = set[Path]


def sync(path: Path) -> None:
    """Wait until the disk has the content of a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_all(unsynced: Unsynced) -> None:
    """Wait until the disk has all of these, and empty the set."""
    list(workers().map(sync, unsynced))
    unsynced.clear()


@cache
def workers() -> ThreadPoolExecutor:
    """Threads of this process for what is done without the interpreter: waiting for the disk, hashing."""
    return ThreadPoolExecutor(8)


os.register_at_fork(after_in_child=workers.cache_clear)  # a forked process has none of its parent's threads


def make_folder(path: Path, unsynced: Unsynced | None) -> None:
    if not path.is_dir():
        make_folder(path.parent, unsynced)
        path.mkdir(exist_ok=True)
        if unsynced is not None:
            unsynced.add(path.parent)


def write(path: Path, data: bytes, unsynced: Unsynced | None, partial: str = "") -> None:
    """Write a file atomically; `partial` names it while it is written."""
    make_folder(path.parent, unsynced)
    begun = path.with_name(partial or f"tmp_obj_{uuid.uuid4().hex}")  # Git's name: `git gc` removes what a kill left
    try:
        begun.write_bytes(data)
        begun.replace(path)
    finally:
        begun.unlink(missing_ok=True)
    if unsynced is not None:
        unsynced |= {path, path.parent}
