"""What the emulated lakeFS keeps: repositories, their branches, tags, commits and trees of objects; how trees merge."""

from __future__ import annotations

import fnmatch
import hashlib
import time
import uuid
from dataclasses import dataclass, field


class Refusal(Exception):
    """An answer other than success."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, headers or {}


@dataclass(frozen=True)
class Entry:
    """An object of a tree. Its identity is what it holds, not where."""

    address: str = field(compare=False)
    checksum: str
    size: int


@dataclass(frozen=True)
class Commit:
    id: str
    parents: tuple[str, ...]
    tree: dict[str, Entry]
    message: str
    metadata: dict[str, str]
    date: int
    generation: int

    def json(self) -> dict:
        return {
            "id": self.id,
            "parents": list(self.parents),
            "committer": "emulated",
            "message": self.message,
            "creation_date": self.date,
            "meta_range_id": "0",
            "metadata": self.metadata,
            "generation": self.generation,
        }


@dataclass
class BranchState:
    commit: str
    hidden: bool
    staged: dict[str, Entry | None] = field(default_factory=dict)


@dataclass
class RepositoryState:
    namespace: str
    branches: dict[str, BranchState] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    protected: list[str] = field(default_factory=list)

    def add(self, parents: tuple[str, ...], tree: dict, message: str, metadata: dict) -> Commit:
        generation = 1 + max((self.commits[p].generation for p in parents), default=0)
        identity = hashlib.sha256(f"{uuid.uuid4()}{parents}{message}".encode()).hexdigest()
        commit = Commit(identity, parents, tree, message, metadata or {}, int(time.time()), generation)
        self.commits[identity] = commit
        return commit

    def branch(self, name: str) -> BranchState:
        if name not in self.branches:
            raise Refusal(404, f"branch '{name}' not found")
        return self.branches[name]

    def commit(self, ref: str) -> Commit:
        if ref in self.branches:
            ref = self.branches[ref].commit
        ref = self.tags.get(ref, ref)
        if ref not in self.commits:
            raise Refusal(404, f"ref '{ref}' not found")
        return self.commits[ref]

    def tree(self, ref: str) -> dict[str, Entry]:
        """What a ref shows: of a branch, with what is staged on it."""
        tree = dict(self.commit(ref).tree)
        for path, entry in self.branches[ref].staged.items() if ref in self.branches else ():
            tree.pop(path, None)
            if entry is not None:
                tree[path] = entry
        return tree

    def writable(self, name: str) -> BranchState:
        branch = self.branch(name)
        if any(fnmatch.fnmatch(name, pattern) for pattern in self.protected):
            raise Refusal(403, "cannot write to protected branch")
        return branch

    def merge_base(self, left: str, right: str) -> Commit:
        def ancestors(start: str) -> set[str]:
            found, queue = set(), [start]
            while queue:
                if (one := queue.pop()) not in found:
                    found.add(one)
                    queue.extend(self.commits[one].parents)
            return found

        common = ancestors(left) & ancestors(right)
        return max((self.commits[one] for one in common), key=lambda commit: commit.generation)


def merged(base: Entry | None, source: Entry | None, target: Entry | None, strategy: str) -> Entry | None:
    """The table of lakeFS's documentation, "Merge"."""
    if source in (target, base):
        return target
    if target == base or strategy == "source-wins":
        return source
    if strategy == "dest-wins":
        return target
    raise Refusal(409, "conflict found")
