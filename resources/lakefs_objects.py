"""Objects of a lakeFS repository: listing, reading and writing them, in pieces and several at once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from resources.lakefs_client import TIMEOUT, call, connect, pages
from resources.lakefs_repository import Repository, branch_id, storage_of

T = TypeVar("T")
R = TypeVar("R")

PARALLEL = 8  # requests at once
PIECE = 2**23  # bytes read at once
LARGEST_PUT = 5 * 2**30  # bytes S3 takes in one request; more goes through the server, which sends it in parts


@dataclass(frozen=True)
class Stored:
    """What a listing says of an object. md5: empty where it is not known; object stores have checksums of their own."""

    size: int
    md5: str


def folders(repository: Repository, ref: str) -> list[str]:
    """The names at the top of a commit that have objects below them."""
    listing = repository.api.objects_api.list_objects
    found = pages(repository.access, f"list {ref}", listing, repository.name, ref, delimiter="/")
    return sorted(item.path.rstrip("/") for item in found if item.path_type == "common_prefix")


def stored(repository: Repository, ref: str, prefix: str) -> dict[str, Stored]:
    """Path below `prefix` -> what is stored there."""
    listing = repository.api.objects_api.list_objects
    found = pages(repository.access, f"list {prefix} at {ref}", listing, repository.name, ref, prefix=prefix)
    if storage_of(repository.access).pre_sign_support:  # what clients send past the server may be encrypted there
        return {item.path.removeprefix(prefix): Stored(int(item.size_bytes or 0), "") for item in found}
    return {
        item.path.removeprefix(prefix): Stored(
            int(item.size_bytes or 0), item.checksum if re.fullmatch("[0-9a-f]{32}", item.checksum) else ""
        )
        for item in found
    }


def read(repository: Repository, ref: str, path: str) -> bytes | None:
    """A small object; None when it is not there."""
    found = repository.look(f"read {path} at {ref}", repository.api.objects_api.get_object, ref, path)
    return bytes(found) if found is not None else None


def put(repository: Repository, branch: str, path: str, data: bytes) -> None:
    """Write a small object."""
    from lakefs.branch import Branch

    target = Branch(repository.name, branch_id(branch), connect(repository.access)).object(path)
    presign = bool(storage_of(repository.access).pre_sign_support)
    call(repository.access, f"write {path} to {branch}", target.upload, data, "wb", presign)


def upload(repository: Repository, branch: str, files: Mapping[str, Path]) -> None:
    """Write files as objects (path -> file). The vendor's writer keeps 32 MiB of each in memory and the rest in a file
    of the folder for temporary files.
    """
    from lakefs.branch import Branch

    target = Branch(repository.name, branch_id(branch), connect(repository.access))
    presign = bool(storage_of(repository.access).pre_sign_support)

    def send(path: str) -> None:
        file = files[path]
        direct = presign and file.stat().st_size <= LARGEST_PUT
        with file.open("rb") as source, target.object(path).writer("wb", pre_sign=direct) as sink:
            shutil.copyfileobj(source, sink, PIECE)

    each(lambda path: call(repository.access, f"upload {path} to {branch}", send, path), files)


def download(repository: Repository, ref: str, path: str, target: Path) -> None:
    """Fill a file from an object."""
    from lakefs.reference import Reference

    source = Reference(repository.name, ref, connect(repository.access)).object(path)
    presign = bool(storage_of(repository.access).pre_sign_support)

    def receive() -> None:
        with source.reader("rb", presign, _request_timeout=TIMEOUT) as stream, target.open("wb") as sink:
            shutil.copyfileobj(stream, sink, PIECE)

    call(repository.access, f"download {path} at {ref}", receive)


def copy(repository: Repository, ref: str, paths: Collection[str], branch: str) -> None:
    """Copy objects of a commit to a branch, on the server."""
    from lakefs_sdk.models import ObjectCopyCreation

    def send(path: str) -> None:
        creation = ObjectCopyCreation(src_ref=ref, src_path=path)
        copy_object = repository.api.objects_api.copy_object
        repository.do(f"copy {path} to {branch}", copy_object, branch_id(branch), path, creation)

    each(send, paths)


def delete(repository: Repository, branch: str, paths: Collection[str]) -> None:
    from lakefs_sdk.models import PathList

    every = sorted(paths)
    for start in range(0, len(every), 1000):  # as many as the server takes at once
        batch = PathList(paths=every[start : start + 1000])
        repository.do(
            f"delete objects of {branch}", repository.api.objects_api.delete_objects, branch_id(branch), batch
        )


def each(operation: Callable[[T], R], items: Collection[T]) -> list[R]:
    """`operation` of every item, several at once; the first error ends it."""
    with ThreadPoolExecutor(PARALLEL) as pool:
        try:
            return [done.result() for done in [pool.submit(operation, item) for item in items]]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise
