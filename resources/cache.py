"""File contents on this machine, by hash: what both stores read from, so that a version here is never copied.

    cache/files/md5/xx/…   contents and file lists in DVC's layout, read-only
    checkouts/             read-only folders of hard links into it, one per data version

A data version is DVC's hash of a directory: the md5 of the list of its files and their md5s. Equal content has an equal
version on any machine and in any store. What is here is hashed again before it is read; damaged content is set aside,
so that the next one with this hash takes its place.

Adding takes longer than committing what was added, and a removal in between would take it away again. So whoever adds
holds `using` until a reference names what was added, and removals wait for all of these under `removing`. Both are
locks of the kernel: they end with their process.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from llm_assets.errors import UserError
from resources.durable import Unsynced, make_folder, sync, workers

LIST = ".dir"
PARTIAL, DAMAGED = ".partial", ".damaged"
# What `complete` hashes at once (half a second); larger versions it only looks for, as they are hashed when read.
AFFORDABLE = 256 * 2**20
LARGE = 2**20


Write = Callable[[Path], object]  # fills the file it is given


@dataclass(frozen=True)
class StoredFile:
    """One file of a version: its path in the version's folder, and the md5 of its content."""

    path: str
    md5: str


@dataclass(frozen=True)
class ContentCache:
    """The contents under `root` (made when it is not there)."""

    root: Path

    def using(self) -> AbstractContextManager[None]:
        """Nothing is removed meanwhile; any number of processes may be in it."""
        return self._lock(fcntl.LOCK_SH)

    def removing(self) -> AbstractContextManager[None]:
        """Nobody adds meanwhile."""
        return self._lock(fcntl.LOCK_EX)

    def add(self, directory: Path, unsynced: Unsynced | None = None) -> tuple[str, int, int]:
        """Link the files of `directory` in; (data version, bytes, number of files).

        The caller holds `using`, and removes `directory`: its files and the contents here are the same, now read-only.
        `unsynced` gains what the disk may not have yet.
        """
        paths = [Path(folder, name) for folder, _, names in os.walk(directory, followlinks=True) for name in names]
        if any(path.name == ".dvcignore" for path in paths):
            raise UserError(f"{directory}: a file of an artifact cannot be named .dvcignore (DVC would not read it)")
        sizes = [path.stat().st_size for path in paths]
        # The disk takes large files while they are hashed.
        large = [path for path, size in zip(paths, sizes, strict=True) if size > LARGE and unsynced is not None]
        synced = [workers().submit(sync, path) for path in large]
        digests = list(workers().map(md5, paths))
        for done in synced:
            done.result()
        for path, digest in zip(paths, digests, strict=True):
            self._keep(digest, partial(_link, path), unsynced)
        files = [StoredFile(p.relative_to(directory).as_posix(), d) for p, d in zip(paths, digests, strict=True)]
        return self.add_list(files, unsynced), sum(sizes), len(files)

    def add_list(self, files: Sequence[StoredFile], unsynced: Unsynced | None = None) -> str:
        """Write the file list of a version whose contents are here, or come from elsewhere; its data version."""
        listing = sorted(({"md5": file.md5, "relpath": file.path} for file in files), key=lambda item: item["relpath"])
        data = json.dumps(listing, sort_keys=True).encode()
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest() + LIST
        self._keep(digest, lambda temporary: temporary.write_bytes(data), unsynced)
        return digest

    def receive(self, digest: str, write: Write) -> None:
        """Let `write` fill a file, and keep it when its content has the hash `digest`.

        Raises UserError when it has not; what is already here, undamaged, is not fetched again.
        """

        def verified(temporary: Path) -> None:
            write(temporary)
            found = md5(temporary)
            if found != digest.removesuffix(LIST):
                raise UserError(f"object {digest} came with other content (md5 {found}): it was not kept")

        self._keep(digest, verified, None)

    def files(self, asset: str, data_version: str) -> list[StoredFile]:
        """The files of a version. Raises UserError when the list is damaged or missing."""
        listing = self.object(data_version)
        harm = _harm(listing, data_version)
        if harm:
            raise UserError(f"{asset} version {data_version}: its file list ({listing}) is {harm}. {_advice(asset)}")
        return [StoredFile(entry["relpath"], entry["md5"]) for entry in json.loads(listing.read_bytes())]

    def complete(self, asset: str, data_version: str) -> bool:
        """Whether every file of a version is here and, if all of them are not too large to look, undamaged."""
        try:
            objects = [(self.object(file.md5), file.md5) for file in self.files(asset, data_version)]
            if sum(stored.stat().st_size for stored, _ in objects) > AFFORDABLE:
                return True
            return not any(_harm(stored, digest) for stored, digest in objects)
        except (UserError, FileNotFoundError):
            return False

    def verify(self, asset: str, data_version: str) -> list[StoredFile]:
        """The files of a version, each found as it was written. Raises UserError naming the one that is not."""
        files = self.files(asset, data_version)
        for file in files:
            stored = self.object(file.md5)
            harm = _harm(stored, file.md5)
            if harm:
                raise UserError(
                    f"{asset} version {data_version}: stored file {file.path} ({stored}) is {harm}. {_advice(asset)}"
                )
        return files

    def checkout(self, asset: str, data_version: str) -> Path:
        """A read-only folder of links to the version's verified files; nothing is copied."""
        with self.using():
            files = self.verify(asset, data_version)
            target = self.root / "checkouts" / data_version
            aside = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PARTIAL}")
            if target.exists() and not self._links(target, files):
                with suppress(FileNotFoundError):  # another process was first
                    target.rename(aside)  # links to contents that were damaged and have been written anew since
                shutil.rmtree(aside, ignore_errors=True)
            if not target.exists():
                for file in files:
                    (aside / file.path).parent.mkdir(parents=True, exist_ok=True)
                    os.link(self.object(file.md5), aside / file.path)
                try:
                    aside.rename(target)
                except OSError:  # another process was first
                    shutil.rmtree(aside, ignore_errors=True)
        return target

    @property
    def objects(self) -> Path:
        return self.root / "cache" / "files" / "md5"

    def object(self, digest: str) -> Path:
        return self.objects / digest[:2] / digest[2:]

    def _keep(self, digest: str, write: Write, unsynced: Unsynced | None) -> None:
        """Put what `write` makes in the place of `digest`, unless that is here as it should be."""
        target = self.object(digest)
        if _harm(target, digest):
            make_folder(target.parent, unsynced)
            temporary = target.with_name(f"{target.name}.{uuid.uuid4().hex}{PARTIAL}")
            try:
                write(temporary)
                temporary.chmod(0o444)
                temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)
        if unsynced is not None:
            unsynced |= {target, target.parent}  # what was here is perhaps another writer's, and not on the disk yet

    def _links(self, folder: Path, files: Sequence[StoredFile]) -> bool:
        """Whether a checkout holds links to these files and nothing else."""
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        return found == {file.path for file in files} and all(
            (folder / file.path).samefile(self.object(file.md5)) for file in files
        )

    @contextmanager
    def _lock(self, kind: int) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / "cache.lock").open("w") as lock:
            fcntl.flock(lock, kind)
            yield


def md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _link(source: Path, target: Path) -> None:
    """A hard link, or a copy where there can be none (a symbolic link, another disk)."""
    try:
        if source.is_symlink():
            raise OSError
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


_verified: dict[Path, tuple[str, int, int, int]] = {}


def _harm(path: Path, digest: str) -> str:
    """What is wrong with a stored file: "missing", "damaged" (it is then set aside), or nothing: "".

    A process hashes each file once, and again when it has changed.
    """
    digest = digest.removesuffix(LIST)
    try:
        state = path.stat()
        known = (digest, state.st_ino, state.st_size, state.st_mtime_ns)
        if _verified.get(path) == known:
            return ""
        if md5(path) == digest:
            if time.time_ns() - state.st_mtime_ns > 10**8:  # the clock of files is coarse: a change now could not show
                _verified[path] = known
            return ""
        aside = path.with_name(f"{path.name}.{uuid.uuid4().hex}{DAMAGED}")
        path.rename(aside)
        if aside.stat().st_ino != state.st_ino:
            aside.rename(path)  # not the damaged one: another process has put a good one in its place just now
    except FileNotFoundError:
        return "missing"
    return "damaged"


def _advice(asset: str) -> str:
    return f"Run again: {asset} is then computed anew."
