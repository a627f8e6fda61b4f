"""File contents on this machine, by hash: what both stores read from, so that a version here is never copied.

    cache/files/md5/xx/…   contents and file lists in DVC's layout, read-only
    checkouts/             read-only folders of hard links into it, one per data version

A data version is DVC's hash of a directory: the md5 of the list of its files and their md5s. Equal content has an equal
version on any machine and in any store.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError

LIST = ".dir"


@dataclass(frozen=True)
class StoredFile:
    """One file of a version: its path in the version's folder, and the md5 of its content."""

    path: str
    md5: str


@dataclass(frozen=True)
class ContentCache:
    """The contents under `root` (made when it is not there)."""

    root: Path

    def add(self, directory: Path) -> tuple[str, int, int]:
        """Move the files of `directory` in; (data version, bytes, number of files)."""
        from dvc_data.hashfile.build import build
        from dvc_data.hashfile.db.local import LocalHashFileDB
        from dvc_data.hashfile.transfer import transfer
        from dvc_objects.fs.local import localfs

        db = LocalHashFileDB(localfs, str(self.objects), tmp_dir=str(self.root / "tmp"))
        staging, meta, built = build(db, str(directory), localfs, "md5")
        tree: Any = built  # of a directory it is a Tree; the signature says its base class
        for _, known, digest in tree:
            stored = self.object(digest.value)
            if stored.exists() and known is not None and stored.stat().st_size != known.size:
                stored.unlink()  # cut short by a crash: make room for the good one
        transfer(staging, db, {tree.hash_info}, hardlink=True, shallow=False)
        return str(tree.hash_info.value), int(meta.size or 0), int(meta.nfiles or 0)

    def add_list(self, files: Sequence[StoredFile]) -> str:
        """Write the file list of a version whose contents come from elsewhere; its data version."""
        listing = sorted(({"md5": file.md5, "relpath": file.path} for file in files), key=lambda item: item["relpath"])
        data = json.dumps(listing, sort_keys=True).encode()
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest() + LIST
        self.receive(digest, lambda partial: partial.write_bytes(data))
        return digest

    def receive(self, digest: str, write: Callable[[Path], object]) -> None:
        """Let `write` fill a file, and keep it when its content has the hash `digest`.

        Raises UserError when it has not; what is already here is not fetched again.
        """
        target = self.object(digest)
        if target.exists():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        try:
            write(partial)
            found = md5(partial)
            if found != digest.removesuffix(LIST):
                raise UserError(f"object {digest} came with other content (md5 {found}): it was not kept")
            partial.chmod(0o444)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def files(self, asset: str, data_version: str) -> list[StoredFile]:
        """The files of a version. Raises UserError when the list is damaged or missing."""
        listing = self.object(data_version)
        if not listing.exists() or not _as_written(listing, data_version.removesuffix(LIST)):
            raise UserError(
                f"{asset} version {data_version}: its file list ({listing}) is damaged or missing in the store. "
                f"Remove it and materialize {asset} again."
            )
        return [StoredFile(entry["relpath"], entry["md5"]) for entry in json.loads(listing.read_bytes())]

    def complete(self, asset: str, data_version: str) -> bool:
        """Whether every file of a version is here (its content is verified when it is read)."""
        try:
            return all(self.object(file.md5).exists() for file in self.files(asset, data_version))
        except UserError:
            return False

    def verify(self, asset: str, data_version: str) -> list[StoredFile]:
        """The files of a version, each found as it was written. Raises UserError naming the one that is not."""
        files = self.files(asset, data_version)
        for file in files:
            stored = self.object(file.md5)
            if not stored.exists() or not _as_written(stored, file.md5):
                raise UserError(
                    f"{asset} version {data_version}: stored file {file.path} ({stored}) is "
                    f"{'damaged' if stored.exists() else 'missing'}. Remove it and run again: {asset} is "
                    "then computed anew."
                )
        return files

    def checkout(self, asset: str, data_version: str) -> Path:
        """A read-only folder of links to the version's verified files; nothing is copied."""
        files = self.verify(asset, data_version)
        target = self.root / "checkouts" / data_version
        partial = target.with_name(f"{target.name}.{uuid.uuid4().hex}.partial")
        if target.exists() and not all(_same(target / file.path, self.object(file.md5)) for file in files):
            target.rename(partial)  # links to contents that were damaged and have been written anew since
            shutil.rmtree(partial)
        if not target.exists():
            for file in files:
                (partial / file.path).parent.mkdir(parents=True, exist_ok=True)
                os.link(self.object(file.md5), partial / file.path)
            try:
                partial.rename(target)
            except OSError:  # another process was first
                shutil.rmtree(partial, ignore_errors=True)
        return target

    @property
    def objects(self) -> Path:
        return self.root / "cache" / "files" / "md5"

    def object(self, digest: str) -> Path:
        return self.objects / digest[:2] / digest[2:]


def md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _as_written(path: Path, digest: str) -> bool:
    """Whether a stored file has this hash; a process reads each file for it once, and again when it has changed."""
    state = path.stat()
    return _md5_of(path, state.st_ino, state.st_size, state.st_mtime_ns) == digest


def _same(link: Path, stored: Path) -> bool:
    return link.exists() and link.samefile(stored)


@lru_cache(maxsize=100_000)
def _md5_of(path: Path, *state: int) -> str:
    return md5(path)
