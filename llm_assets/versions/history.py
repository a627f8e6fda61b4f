"""What `main` has held: the releases, and what each of them changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from llm_assets.artifacts import Scalar
from resources.store import ManagedStore, Release, Version, history


@dataclass(frozen=True)
class Change:
    """One asset of a release. before: its version in the release before, None when it is new.

    gone (`after` is None) can only come from going back to a release that did not have the asset.
    """

    asset: str
    before: Version | None
    after: Version | None


@dataclass(frozen=True)
class Published:
    """A release, the run that made it (empty when it went back to an earlier one), and what it changed."""

    release: Release
    run: str
    changes: list[Change]


def releases_with_changes(store: ManagedStore) -> list[Published]:
    """All releases, newest first. An asset whose content stayed is no change, even if it was computed again."""
    releases = store.releases()
    states: list[Mapping[str, Version]] = [store.heads(release.commit) for release in releases]
    return [
        Published(release, run_of(release), changes(older, newer))
        for release, newer, older in zip(releases, states, [*states[1:], {}], strict=True)
    ]


def versions_of(store: ManagedStore, asset: str) -> list[tuple[Release, Version]]:
    """The contents of `asset` that main has held, newest first, each with the release that brought it."""
    found: list[tuple[Release, Version]] = []
    for release, version in history(store, asset):
        if found and found[-1][1].data_version == version.data_version:
            found.pop()
        found.append((release, version))
    return found


def changes(older: Mapping[str, Version], newer: Mapping[str, Version]) -> list[Change]:
    """The assets whose content differs between two states."""
    found = []
    for asset in sorted({*older, *newer}):
        before, after = older.get(asset), newer.get(asset)
        if (before and before.data_version) != (after and after.data_version):
            found.append(Change(asset, before, after))
    return found


def moved_metrics(before: Version | None, after: Version | None) -> dict[str, tuple[Scalar | None, Scalar | None]]:
    """metric -> its value before and after, where the two differ; None where there is none. Speeds come last."""
    old, new = ((version.summary.metrics if version else {}) for version in (before, after))
    names = sorted({**old, **new}, key=lambda name: name.endswith(("_per_second", "_at", "_ms")))
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def run_of(release: Release) -> str:
    """The id of the run whose branch was published."""
    return release.branch.removeprefix("run/")
