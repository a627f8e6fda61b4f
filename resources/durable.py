"""Files that survive a power cut: on the disk, name and all, before anything refers to them."""

from __future__ import annotations

import os
import uuid
from pathlib import Path


def sync(path: Path) -> None:
    """Wait until the disk has the content of a file, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(path: Path) -> None:
    """Make a folder and those above it; the disk has their names."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def write(path: Path, data: bytes, flush: bool = True) -> None:
    """Write a file atomically; with `flush`, a power cut cannot take it back when this returns."""
    make_folder(path.parent)
    partial = path.with_name(f"tmp_obj_{uuid.uuid4().hex}")  # Git's name for such: `git gc` removes what a kill left
    try:
        partial.write_bytes(data)
        if flush:
            sync(partial)
        partial.replace(path)
        if flush:
            sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)
