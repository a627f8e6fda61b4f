"""The version store: what holds every version of every artifact, and what a run may see of it.

A run works on its own branch. Each artifact is one atomic commit there; gates read that branch; `publish` moves
`main` to everything the run made, at once. Nothing is ever read as "latest": a reader names a `Version`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from llm_assets.artifacts import Summary

MAIN = "main"


@dataclass(frozen=True)
class Version:
    """One version of one artifact.

    data_version: hash of the files (equal content, equal version, on any machine).
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


class VersionStore(Protocol):
    """What the one IO path (`llm_assets.materialize`) needs of a store."""

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
        """The version computed from exactly this, if any branch of any run has made it."""

    def heads(self, ref: str) -> dict[str, Version]:
        """asset -> version at a branch, tag or commit; empty when the ref is not there."""

    def checkout(self, version: Version) -> Path:
        """A read-only folder with the version's files, every file verified against its hash. Copies nothing."""

    def verify(self, version: Version) -> None:
        """Raise UserError, naming the file, unless everything of the version is stored as it was written."""

    def publish(self, branch: str, message: str) -> str | None:
        """Move `main` to hold everything `branch` changed, at once; the new commit, or None if nothing changed."""

    def history(self, asset: str) -> list[Version]:
        """The versions of `asset` that `main` has held, newest first."""


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
