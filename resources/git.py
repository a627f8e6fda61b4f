"""What the embedded store needs of Git: flat trees, commits and references, through dulwich, with no work tree.

A commit cannot be computed again as an artifact can, so objects and references are kept twice: where Git has them, and
under `copies/` in the repository. Each object is verified against its name when it is read; a damaged one is replaced
from its copy. An object is on the disk before a reference that leads to it is.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.errors import UserError
from resources import durable
from resources.durable import Unsynced

if TYPE_CHECKING:
    from dulwich.objects import Commit, ObjectID, ShaFile, Tree
    from dulwich.refs import Ref
    from dulwich.repo import Repo

AUTHOR = b"llm-assets <llm-assets@localhost>"
MAIN_REF = "refs/heads/main"
FOLDER = 0o040000
KINDS = {b"commit": 1, b"tree": 2, b"blob": 3, b"tag": 4}
log = logging.getLogger(__name__)


# -- references ----------------------------------------------------------------------------------------------------


def read_ref(repo: Repo, name: str) -> ObjectID | None:
    """The commit of a full reference name, such as `refs/heads/main`; None when there is no such reference.

    Raises UserError when the reference is damaged, and so is its copy.
    """
    from dulwich.objects import ObjectID

    found, copy = repo.refs.read_ref(_ref(name)), _read(_copy(repo, name)).strip()
    if found is None and not Path(repo.controldir(), name).is_file() and not (copy and name == MAIN_REF):
        return None  # people remove references with `git branch -D`; only `main` cannot have been meant to go
    for value in (found, copy):
        if value and _is_name(value) and known(repo, value):
            return ObjectID(value)
    raise UserError(
        f"The store's reference {name} ({Path(repo.controldir(), name)}) is damaged, and so is its copy. Remove the "
        "file, and materialize again what it named."
    )


def move_ref(repo: Repo, name: str, commit: ObjectID, unsynced: Unsynced) -> None:
    """Move a reference. The caller holds the store's lock, so a `.lock` file here is a dead writer's."""
    path = Path(repo.controldir(), name)
    durable.write(path, commit + b"\n", unsynced, partial=f"{path.name}.lock")
    durable.write(_copy(repo, name), commit + b"\n", None)


def remove_ref(repo: Repo, name: str, unsynced: Unsynced) -> None:
    """Remove a reference, if it is there. The caller holds the store's lock."""
    path = Path(repo.controldir(), name)
    for lock in (path.with_name(path.name + ".lock"), Path(repo.controldir(), "packed-refs.lock")):
        lock.unlink(missing_ok=True)
    _copy(repo, name).unlink(missing_ok=True)
    if path.parent.is_dir():
        repo.refs.remove_if_equals(_ref(name), None)
        folder = path.parent
        while not folder.is_dir():  # it was empty then, and has gone with the reference
            unsynced.discard(folder)
            folder = folder.parent
        unsynced.add(folder)


def refs_under(repo: Repo, prefix: str) -> list[str]:
    """Full names of the references that start with `prefix` (which ends with a slash)."""
    control = Path(repo.controldir())
    loose = {path.relative_to(control).as_posix() for path in (control / prefix).rglob("*") if path.is_file()}
    packed = {name.decode() for name in repo.refs.get_packed_refs() if name.startswith(prefix.encode())}
    return sorted(name for name in loose | packed if not name.endswith(".lock"))


# -- objects -------------------------------------------------------------------------------------------------------


def commit_at(repo: Repo, commit: bytes) -> Commit:
    from dulwich.objects import Commit

    found = load(repo, commit)
    assert isinstance(found, Commit)
    return found


def files_at(repo: Repo, commit: bytes) -> dict[bytes, ObjectID]:
    """The files and folders at the top of a commit's tree."""
    return {item.path: item.sha for item in _tree(repo, commit_at(repo, commit).tree).items()}


def read_blob(repo: Repo, blob: bytes) -> bytes:
    return load(repo, blob).as_raw_string()


def write_blob(repo: Repo, data: bytes, unsynced: Unsynced) -> ObjectID:
    from dulwich.objects import Blob

    return save(repo, Blob.from_string(data), unsynced)


def write_tree(repo: Repo, files: dict[bytes, ObjectID], unsynced: Unsynced) -> ObjectID:
    """A tree of files by name; the one folder among them is `.dvc`."""
    from dulwich.objects import Tree

    tree = Tree()
    for name, item in files.items():
        tree.add(name, FOLDER if name == b".dvc" else 0o100644, item)
    return save(repo, tree, unsynced)


def write_commit(
    repo: Repo, files: dict[bytes, ObjectID], parents: list[ObjectID], message: str, unsynced: Unsynced
) -> ObjectID:
    from dulwich.objects import Commit

    commit = Commit()
    commit.tree, commit.parents = write_tree(repo, files, unsynced), parents
    commit.author = commit.committer = AUTHOR
    commit.author_time = commit.commit_time = int(time.time())
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.encode()
    return save(repo, commit, unsynced)


def load(repo: Repo, name: bytes) -> ShaFile:
    """An object, verified. Raises UserError when it is damaged or missing, and so is its copy."""
    from dulwich.objects import ObjectID, ShaFile

    found = _unpacked(_read(_loose(repo, name)), name) or _packed(repo, name)
    if found is None:
        copy = _read(_copy(repo, name.decode()))
        found = _unpacked(copy, name)
        if found is None:
            raise UserError(
                f"Object {name.decode()} of the store's Git repository ({_loose(repo, name)}) is damaged or missing, "
                "and so is its copy: put the repository back from a clone, or remove the store and start afresh."
            )
        log.warning("%s was damaged or missing; it is put back from its copy", _loose(repo, name))
        durable.write(_loose(repo, name), copy, None)
    kind, _, body = found.partition(b"\0")
    return ShaFile.from_raw_string(KINDS[kind.partition(b" ")[0]], body, ObjectID(name))


def save(repo: Repo, item: ShaFile, unsynced: Unsynced) -> ObjectID:
    """Write an object, and its copy, unless it is there undamaged."""
    data = item.as_legacy_object()
    for path, to_sync in ((_copy(repo, item.id.decode()), None), (_loose(repo, item.id), unsynced)):
        if _unpacked(_read(path), item.id) is None:
            durable.write(path, data, to_sync)
    unsynced |= {_loose(repo, item.id), _loose(repo, item.id).parent}  # another writer's may not be on the disk yet
    return item.id


def known(repo: Repo, name: bytes) -> bool:
    """Whether there is an object of this name, or was."""
    return (
        _loose(repo, name).exists()
        or _copy(repo, name.decode()).exists()
        or repo.object_store.contains_packed(_id(name))
    )


def reachable(repo: Repo, commits: Iterable[bytes]) -> set[bytes]:
    """The names of all objects that these commits lead to, each read and so verified."""
    from dulwich.objects import Commit, Tag, Tree

    found: set[bytes] = set()
    queue = list(commits)
    while queue:
        name = queue.pop()
        if name in found:
            continue
        found.add(name)
        item = load(repo, name)
        if isinstance(item, Commit):
            queue += [item.tree, *item.parents]
        elif isinstance(item, Tree):
            queue += [entry.sha for entry in item.items()]
        elif isinstance(item, Tag):
            queue.append(item.object[1])
    return found


def prune(repo: Repo, kept: set[bytes], dry_run: bool) -> int:
    """Remove the loose objects, and the copies, that are not in `kept`; the bytes freed."""
    freed = 0
    for root in (Path(repo.controldir(), "objects"), Path(repo.controldir(), "copies", "objects")):
        for path in root.glob("[0-9a-f][0-9a-f]/*"):
            if (path.parent.name + path.name).encode() not in kept:
                freed += path.stat().st_size
                if not dry_run:
                    path.unlink()
    return freed


def _tree(repo: Repo, name: bytes) -> Tree:
    from dulwich.objects import Tree

    found = load(repo, name)
    assert isinstance(found, Tree)
    return found


def _packed(repo: Repo, name: bytes) -> bytes | None:
    """An object out of a pack (`git gc` makes them), with its header; None when it is in none, or damaged."""
    with suppress(Exception):  # a damaged pack fails in many ways; what comes out whole is what counts
        if repo.object_store.contains_packed(_id(name)):
            number, body = repo.object_store.get_raw(_id(name))
            kind = next(kind for kind, known_as in KINDS.items() if known_as == number)
            return _if_named(b"%s %d\0%s" % (kind, len(body), body), name)
    return None


def _unpacked(data: bytes, name: bytes) -> bytes | None:
    """The object in the bytes of a loose file, with its header; None when it is damaged or missing."""
    try:
        return _if_named(zlib.decompress(data), name)
    except zlib.error:
        return None


def _if_named(item: bytes, name: bytes) -> bytes | None:
    return item if hashlib.sha1(item, usedforsecurity=False).hexdigest().encode() == name else None


def _loose(repo: Repo, name: bytes) -> Path:
    text = name.decode()
    return Path(repo.controldir(), "objects", text[:2], text[2:])


def _copy(repo: Repo, name: str) -> Path:
    """Where the copy of a reference or an object is."""
    if name.startswith("refs/"):
        return Path(repo.controldir(), "copies", name)
    return Path(repo.controldir(), "copies", "objects", name[:2], name[2:])


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _is_name(value: bytes) -> bool:
    return re.fullmatch(rb"[0-9a-f]{40}", value) is not None


def _id(name: bytes) -> ObjectID:
    from dulwich.objects import ObjectID

    return ObjectID(name)


def _ref(name: str) -> Ref:
    from dulwich.refs import Ref

    return Ref(name.encode())
