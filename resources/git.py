"""What the embedded store needs of Git: flat trees, commits and references, through dulwich, with no work tree."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dulwich.objects import Commit, ObjectID
    from dulwich.repo import Repo

AUTHOR = b"llm-assets <llm-assets@localhost>"


def read_ref(repo: Repo, name: str) -> ObjectID | None:
    """The commit of a full reference name, such as `refs/heads/main`."""
    from dulwich.objects import ObjectID
    from dulwich.refs import Ref

    found = repo.refs.read_ref(Ref(name.encode()))
    return ObjectID(found) if found else None


def move_ref(repo: Repo, name: str, commit: ObjectID) -> None:
    """Move a reference. The caller holds the store's lock, so a `.lock` file here is a dead writer's."""
    from dulwich.refs import Ref

    Path(repo.controldir(), name + ".lock").unlink(missing_ok=True)
    ref = Ref(name.encode())
    if not repo.refs.set_if_equals(ref, read_ref(repo, name), commit):
        raise RuntimeError(f"reference {name} moved without the store's lock")


def commit_at(repo: Repo, commit: bytes) -> Commit:
    from dulwich.objects import Commit

    found = repo[commit]
    assert isinstance(found, Commit)
    return found


def files_at(repo: Repo, commit: bytes) -> dict[bytes, ObjectID]:
    """The files and folders at the top of a commit's tree."""
    from dulwich.objects import Tree

    tree = repo[commit_at(repo, commit).tree]
    assert isinstance(tree, Tree)
    return {item.path: item.sha for item in tree.items()}


def read_blob(repo: Repo, blob: bytes) -> bytes:
    from dulwich.objects import Blob

    found = repo[blob]
    assert isinstance(found, Blob)
    return found.data


def write_blob(repo: Repo, data: bytes) -> ObjectID:
    from dulwich.objects import Blob

    blob = Blob.from_string(data)
    repo.object_store.add_object(blob)
    return blob.id


def write_folder(repo: Repo, files: dict[bytes, bytes]) -> ObjectID:
    """A tree of files by name and content."""
    from dulwich.objects import Tree

    tree = Tree()
    for name, data in files.items():
        tree.add(name, 0o100644, write_blob(repo, data))
    repo.object_store.add_object(tree)
    return tree.id


def write_commit(repo: Repo, files: dict[bytes, ObjectID], parents: list[ObjectID], message: str) -> ObjectID:
    """A commit of a flat tree; the one folder among `files` is `.dvc`."""
    from dulwich.objects import Commit, Tree

    tree = Tree()
    for name, blob in files.items():
        tree.add(name, 0o040000 if name == b".dvc" else 0o100644, blob)
    repo.object_store.add_object(tree)
    commit = Commit()
    commit.tree, commit.parents = tree.id, parents
    commit.author = commit.committer = AUTHOR
    commit.author_time = commit.commit_time = int(time.time())
    commit.author_timezone = commit.commit_timezone = 0
    commit.encoding = b"UTF-8"
    commit.message = message.encode()
    repo.object_store.add_object(commit)
    return commit.id
