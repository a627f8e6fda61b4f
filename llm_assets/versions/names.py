"""The names that people give to versions; every command takes the same.

asset                   its version on main
asset@<data version>    a prefix is enough
asset@<ref>             its version at a release, branch or commit
v3, main, run/<id>      a whole state: a release, main, a run's branch (a prefix of the id is enough)
<commit>                a prefix of the commit that wrote a version, or of a release's
chatcmpl-…              the package that gave this reply, as the traffic log has it
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from llm_assets.errors import UserError
from resources.store import MAIN, ManagedStore, Version

REPLY = "chatcmpl-"
PACKAGE_ASSET = "release_candidate"  # its data version is the digest that the endpoint reports
SHORTEST = 4


@dataclass(frozen=True)
class Named:
    """What a name stands for: one version, or a whole state.

    ref: what `VersionStore.heads` takes. reply: the record of the traffic log, when the name was a reply's id.
    """

    name: str
    ref: str
    heads: Mapping[str, Version]
    version: Version | None = None
    reply: Mapping[str, Any] | None = None


def resolve(store: ManagedStore, home: Path, name: str) -> Named:
    """What `name` stands for. Raises UserError that lists what is near."""
    if name.startswith(REPLY):
        return _reply(store, home, name)
    asset, at, ref = name.partition("@")
    known = assets_of(store)
    if at:
        return _one(name, _version_at(store, asset, ref))
    if asset in known:
        return _one(name, _version_at(store, asset, MAIN))
    state = state_named(store, name)
    if state is not None:
        return Named(name, state, store.heads(state))
    versions = _matching(store, known, name)
    if versions:
        return _one(name, _only(name, versions))
    raise UserError(f"{name!r} names no version. {_near(store, known, name)}")


def resolve_one(store: ManagedStore, home: Path, name: str) -> tuple[Named, Version]:
    """`name` and the one version it stands for. Raises UserError when it stands for a whole state."""
    named = resolve(store, home, name)
    if named.version is None:
        example = next(iter(named.heads), "asset")
        raise UserError(
            f"{name!r} is a state of all assets; name one of them, e.g. {example}@{name}. "
            f"It has: {', '.join(named.heads)}"
        )
    return named, named.version


def state_named(store: ManagedStore, name: str) -> str | None:
    """The ref of a release, `main`, a run's branch or a commit of one of these, by name or prefix; None if there is
    none.
    """
    releases = store.releases()
    if name == MAIN:
        return name
    commit = next((release.commit for release in releases if release.name == name), None)
    if commit is not None:
        return commit
    branches = [branch.name for branch in store.branches()]
    prefix = name if name.startswith("run/") else f"run/{name}"
    found = [branch for branch in branches if branch.startswith(prefix) and len(name.removeprefix("run/")) >= SHORTEST]
    if len(found) > 1:
        raise UserError(f"{name!r} could be any of: {', '.join(sorted(found))}")
    if found:
        return found[0]
    if _hexadecimal(name):
        return next((release.commit for release in releases if release.commit.startswith(name)), None)
    return None


def require_asset(store: ManagedStore, name: str) -> str:
    """`name`, if there is such an asset. Raises UserError that lists what is near."""
    known = assets_of(store)
    if name not in known:
        raise UserError(f"{name!r} is no asset. {_near(store, known, name)}")
    return name


def release_names(store: ManagedStore) -> dict[tuple[str, str], list[str]]:
    """(asset, data version) -> the releases that hold it, newest first."""
    found: dict[tuple[str, str], list[str]] = {}
    for release in store.releases():
        for version in store.heads(release.commit).values():
            found.setdefault((version.asset, version.data_version), []).append(release.name)
    return found


def assets_of(store: ManagedStore) -> list[str]:
    """The assets of the graph, and those that are only in the store."""
    from llm_assets.graph import NODES

    names = set(NODES) | set(store.heads(MAIN))
    for branch in store.branches():
        names |= set(store.heads(branch.name))
    return sorted(names)


def distinct(versions: Iterable[Version]) -> list[Version]:
    """One version of each content, the first one."""
    found: dict[tuple[str, str], Version] = {}
    for version in versions:
        found.setdefault((version.asset, version.data_version), version)
    return list(found.values())


def _reply(store: ManagedStore, home: Path, name: str) -> Named:
    from llm_assets.serving.traffic import reply_record

    record = reply_record(home, name)
    if record is None:
        raise UserError(
            f"reply {name!r} is not in the traffic log under {home / 'traffic'} (it keeps some days: "
            "`serving.traffic.days` of the recipe)."
        )
    digest = str(record.get("digest"))
    version = package_version(store, digest)
    if version is None:
        raise UserError(f"reply {name!r} came from package {digest}, which no version of {PACKAGE_ASSET} has.")
    return Named(name, version.commit, store.heads(version.commit), version, record)


def package_version(store: ManagedStore, digest: str) -> Version | None:
    """The version of the release candidate that the endpoint serves as `digest`."""
    return next((v for v in store.versions(PACKAGE_ASSET) if v.data_version == digest), None)


def _one(name: str, version: Version) -> Named:
    return Named(name, version.commit, {version.asset: version}, version)


def _version_at(store: ManagedStore, asset: str, ref: str) -> Version:
    require_asset(store, asset)
    state = state_named(store, ref)
    if state is not None:
        version = store.heads(state).get(asset)
        if version is None:
            raise UserError(f"{ref} has no version of {asset}. {_versions_text(store, asset)}")
        return version
    versions = _matching(store, [asset], ref)
    if not versions:
        raise UserError(f"{asset} has no version {ref!r}. {_versions_text(store, asset)}")
    return _only(f"{asset}@{ref}", versions)


def _matching(store: ManagedStore, assets: list[str], prefix: str) -> list[Version]:
    """The versions whose data version or commit begins so; of equal contents the one on main, or else the newest."""
    if not _hexadecimal(prefix.removesuffix(".dir")):
        return []
    main = store.heads(MAIN)
    found = []
    for asset in assets:
        mine = [main[asset]] if asset in main else []
        by_data = [v for v in [*mine, *store.versions(asset)] if v.data_version.startswith(prefix)]
        found += distinct(by_data) or [v for v in store.versions(asset) if v.commit.startswith(prefix)]
    return found


def _only(name: str, versions: list[Version]) -> Version:
    if len(versions) > 1:
        listed = ", ".join(f"{v.asset}@{v.data_version[:12]}" for v in versions[:8])
        raise UserError(f"{name!r} could be any of: {listed}. Give more of it.")
    return versions[0]


def _near(store: ManagedStore, known: list[str], name: str) -> str:
    near = get_close_matches(name.partition("@")[0], known, n=4, cutoff=0.5)
    releases = [release.name for release in store.releases()[:8]]
    parts = [f"Did you mean {', '.join(near)}?" if near else f"Assets: {', '.join(known)}."]
    parts.append(f"Releases: {', '.join(releases)}." if releases else "Nothing has been published yet.")
    runs = [branch.name[:12] for branch in store.branches()[:4]]
    return " ".join([*parts, f"Runs: {', '.join(runs)}."] if runs else parts)


def _versions_text(store: ManagedStore, asset: str) -> str:
    names = release_names(store)
    found = distinct(store.versions(asset))
    if not found:
        return f"It has none yet: `llm-assets run --select +{asset}` makes one."
    shown = [
        f"{v.data_version[:12]}" + (f" ({names[asset, v.data_version][0]})" if (asset, v.data_version) in names else "")
        for v in found[:8]
    ]
    return f"Versions, newest first: {', '.join(shown)}{' …' if len(found) > 8 else ''}."


def _hexadecimal(text: str) -> bool:
    return len(text) >= SHORTEST and re.fullmatch(r"[0-9a-f]+", text) is not None
