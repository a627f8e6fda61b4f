"""The version store: what holds every version of every artifact, and what a run may see of it.

A run works on its own branch. Each artifact is one atomic commit there; gates read that branch; `publish` moves
`main` to everything the run made, at once, as a numbered release. Nothing is ever read as "latest": a reader names a
`Version`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from llm_assets.artifacts import Summary

MAIN = "main"


@dataclass(frozen=True)
class Version:
    """One version of one artifact.

    data_version: hash of the files (equal content, equal version, on any machine and in any store).
    commit: where it was written; with `asset` it names the version and its metadata exactly.
    fingerprint: hash of everything it was computed from; equal fingerprints need no second computation.
    inputs: upstream asset -> {"data_version", "commit"}: the exact versions it was computed from.
    """

    asset: str
    data_version: str
    commit: str
    fingerprint: str
    inputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> Summary:
        return Summary.from_json(self.metadata.get("summary", {}))


@dataclass(frozen=True)
class Release:
    """One publication: a state of `main`, for ever readable as `heads(name)`.

    name: `v1`, `v2` … in the order of publication. at: seconds since the epoch. branch: the run's branch.
    """

    name: str
    commit: str
    at: float
    branch: str
    message: str


@dataclass(frozen=True)
class Branch:
    """A run's branch. at: seconds since the epoch of its last commit. published: `main` has all of it."""

    name: str
    at: float
    published: bool


@dataclass(frozen=True)
class Garbage:
    """What a collection removed, or would remove. freed: bytes on this machine."""

    branches: list[str]
    versions: list[Version]
    freed: int


class VersionStore(Protocol):
    """What the one IO path (`llm_assets.materialize`), the gates and publication need of a store."""

    def open_branch(self, branch: str) -> None:
        """Start `branch` at `main`, unless it is there."""

    def write(
        self,
        branch: str,
        asset: str,
        directory: Path,
        *,
        fingerprint: str,
        inputs: Mapping[str, Version],
        metadata: Mapping[str, Any],
    ) -> Version:
        """Commit the files of `directory` as a version of `asset`: all of it or nothing."""

    def adopt(self, branch: str, version: Version) -> Version:
        """Put an existing version on `branch` (it was computed before; only the commit is new)."""

    def find(self, asset: str, fingerprint: str) -> Version | None:
        """The version computed from exactly this, if any branch of any run has made it and it is whole."""

    def heads(self, ref: str) -> dict[str, Version]:
        """asset -> version at a branch, release or commit; empty when the ref is not there."""

    def checkout(self, version: Version) -> Path:
        """A read-only folder with the version's files, each verified against its hash; what is on this machine is
        linked, not copied. Raises UserError, naming the file, when one is damaged or missing.
        """

    def publish(self, branch: str, message: str) -> Release | None:
        """Move `main` to hold everything `branch` changed, at once; None if that changes nothing.

        Of an asset that another run has published meanwhile, `branch` wins, whole: never files of both. The branch goes
        on from the release.
        """

    def releases(self) -> list[Release]:
        """The publications, newest first: the first-parent history of `main`."""


class ManagedStore(VersionStore, Protocol):
    """What people's commands (`llm_assets.versions`) need besides."""

    def versions(self, asset: str) -> list[Version]:
        """Every version of `asset` that any run has made and the store still lists, newest first."""

    def branches(self) -> list[Branch]:
        """The runs' branches, newest first."""

    def reset(self, branch: str, ref: str) -> None:
        """Make `branch` hold exactly what `ref` holds, as one commit (publishing it is how `main` goes back)."""

    def forget(self, versions: Collection[Version]) -> int:
        """Make versions unreadable for good: their fingerprints, and every content no other listed version has.

        The bytes freed on this machine. They stay named in the history; reading one is a UserError that says so.
        """

    def collect(self, keep: Collection[str], dry_run: bool = False) -> Garbage:
        """Remove the runs' branches not in `keep`, and what no release and no branch refers to any more."""


def lineage(store: VersionStore, version: Version) -> dict[str, Version]:
    """asset -> the exact version of everything upstream of `version`, and itself."""
    found = {version.asset: version}
    queue = [version]
    while queue:
        for asset, origin in queue.pop().inputs.items():
            if asset not in found:
                found[asset] = store.heads(origin["commit"])[asset]
                queue.append(found[asset])
    return found


def history(store: VersionStore, asset: str) -> list[tuple[Release, Version]]:
    """The versions of `asset` that `main` has held, newest first, each with the release that brought it."""
    found: list[tuple[Release, Version]] = []
    for release in store.releases():
        version = store.heads(release.name).get(asset)
        if version is None:
            continue
        if found and found[-1][1].fingerprint == version.fingerprint:
            found.pop()  # the older release is the one that brought it
        found.append((release, version))
    return found
