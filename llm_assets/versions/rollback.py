"""Going back to an earlier release, all of it: what `main` holds, and what the endpoint serves.

What it means:

- `main` holds again exactly what that release held. This is a new release: history goes on and is not rewritten.
- The endpoint serves the package that it served then, by the ordinary hot swap; a stopped one will when it starts.
- The package it served until now is *withdrawn*: a run that makes that very package again keeps the champion. A
  package with other content is promoted as ever, when it is at least as good; going back to a release that served a
  withdrawn package lifts the withdrawal.
- The recipe, the sources and accepted feedback are not versions and stay as they are. `llm-assets status` calls stale
  what they would make otherwise today, and the next run makes that: mostly by finding what was computed before.
- Reports of before count no more: Dagster is told which versions `main` holds, without a verdict, so the degradation
  sensor waits for a report on what is being served now.
- A run that is in flight is not stopped: what it makes is published over this when it succeeds.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from llm_assets.artifacts import read_json
from llm_assets.errors import UserError
from llm_assets.serving.deploy import DEPLOYMENT
from llm_assets.versions.history import Change, changes
from llm_assets.versions.names import PACKAGE_ASSET, package_version
from resources.store import MAIN, ManagedStore, Release, Version

DEPLOYED = "deployed_endpoint"
ATTEMPTS = 5  # publications that others may get in between


class Endpoint(Protocol):
    """What going back needs of `resources.endpoint`."""

    @property
    def folder(self) -> Path: ...
    def current(self) -> dict[str, Any] | None: ...
    def deploy(self, package: Path, digest: str) -> None: ...
    def point_at(self, pointer: dict[str, Any] | None) -> None: ...
    def wait_serving(self, digest: str) -> None: ...
    def status(self) -> dict[str, Any]: ...
    def withdraw(self, digest: str) -> None: ...
    def reinstate(self, digest: str) -> None: ...


@dataclass(frozen=True)
class Rollback:
    """What was done. published: the new release (None: `main` held all of it already). digest: of the package now
    served (None: the release had deployed none); swapped: it was another before; running: a server took it.
    """

    target: Release
    published: Release | None
    changes: list[Change]
    digest: str | None
    swapped: bool
    running: bool


def roll_back(store: ManagedStore, endpoint: Endpoint, name: str) -> Rollback:
    """Make `main` and the endpoint what they were at release `name`. Can be repeated: what is done already, stays.

    Raises UserError, with nothing changed, when there is no such release, when any of its contents is damaged or
    erased, or when the server does not take the package.
    """
    target = find_release(store, name)
    wanted = store.heads(target.commit)
    verify(store, wanted, target.name)
    digest, package = _served_then(store, endpoint, wanted, target)
    swapped = running = False
    if digest is not None and package is not None:
        swapped, running = _swap(endpoint, package, digest)
    moved = changes(store.heads(MAIN), wanted)
    return Rollback(target, _publish(store, wanted, target), moved, digest, swapped, running)


def find_release(store: ManagedStore, name: str) -> Release:
    releases = store.releases()
    for release in releases:
        if name == release.name or (len(name) >= 7 and release.commit.startswith(name)):
            return release
    known = ", ".join(release.name for release in releases[:12])
    raise UserError(f"{name!r} is no release. {'Releases: ' + known if known else 'Nothing has been published yet'}.")


def verify(store: ManagedStore, versions: Mapping[str, Version], what: str) -> None:
    """Read every file of these versions. Raises UserError that names all that are damaged or erased."""
    problems = []
    for version in versions.values():
        try:
            store.checkout(version)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise UserError(f"{what} cannot be gone back to; nothing was changed.\n  " + "\n  ".join(problems))


def _served_then(
    store: ManagedStore, endpoint: Endpoint, wanted: Mapping[str, Version], target: Release
) -> tuple[str | None, Path | None]:
    """The digest that the release's deployment left serving, and the folder of that package."""
    deployed = wanted.get(DEPLOYED)
    if deployed is None:
        return None, None
    digest = str(read_json(store.checkout(deployed) / DEPLOYMENT)["digest"])
    version = package_version(store, digest)
    if version is not None:
        return digest, store.checkout(version)
    kept = endpoint.folder / "packages" / digest
    if kept.is_dir():
        return digest, kept
    raise UserError(
        f"{target.name} served package {digest}, which is no version of {PACKAGE_ASSET} in the store any more, nor a "
        "package of the endpoint. Nothing was changed."
    )


def _swap(endpoint: Endpoint, package: Path, digest: str) -> tuple[bool, bool]:
    """Serve `package`; (whether another was served, whether a server runs)."""
    before = endpoint.current()
    running = bool(endpoint.status()["running"])
    other = str(before["digest"]) if before and before["digest"] != digest else None
    if before is None or other is not None:
        endpoint.deploy(package, digest)
    if running:
        try:
            endpoint.wait_serving(digest)
        except BaseException:
            endpoint.point_at(before)  # whatever went wrong, what was serving goes on serving
            raise
    endpoint.reinstate(digest)
    if other is not None:
        endpoint.withdraw(other)
    return before is None or other is not None, running


def _publish(store: ManagedStore, wanted: Mapping[str, Version], target: Release) -> Release | None:
    """Publish the release's state, whole, whatever others publish meanwhile."""
    published = None
    for _ in range(ATTEMPTS):
        if _contents(store.heads(MAIN)) == _contents(wanted):
            return published
        branch = f"run/rollback-{target.name}-{uuid.uuid4().hex[:8]}"
        store.open_branch(branch)
        store.reset(branch, target.commit)
        published = store.publish(branch, f"rollback to {target.name}") or published
    raise UserError(f"main did not stay at {target.name}: other runs are publishing. Stop them and go back again.")


def _contents(heads: Mapping[str, Version]) -> dict[str, tuple[str, str]]:
    return {name: (version.data_version, version.fingerprint) for name, version in heads.items()}
