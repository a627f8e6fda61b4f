"""What of the embedded store is still referred to, and what a collection would remove."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from resources import git
from resources.durable import Unsynced, sync_all
from resources.dvc_records import (
    Entry,
    assets_at,
    branch_ref,
    erased_ref,
    read_version,
    releases_from,
    version_ref,
    written_at,
)
from resources.store import MAIN, Version

if TYPE_CHECKING:
    from dulwich.repo import Repo

VERSIONS, BRANCHES, BASES, TAGS, LINEAGE = (
    f"refs/{name}/" for name in ("versions", "heads", "bases", "tags", "lineage")
)


@dataclass(frozen=True)
class Plan:
    """A collection: what goes, and what stays.

    refs: references that go, in the order of removal. lineage: commits that need one of their own to stay.
    data_versions, objects: the contents, and the Git objects, that stay.
    """

    branches: list[str]
    versions: list[Version]
    refs: list[str]
    lineage: set[bytes]
    data_versions: set[str]
    objects: set[bytes]


def listed(repo: Repo, prefix: str = "") -> list[Version]:
    """The versions that the store lists under `<asset>/<fingerprint>/`, or the beginning of it; newest first."""
    found = []
    for ref in git.refs_under(repo, VERSIONS + prefix):
        commit, asset = git.read_ref(repo, ref), ref.removeprefix(VERSIONS).split("/")[0]
        if commit:
            entry = assets_at(repo, commit)[asset]
            found.append((written_at(repo, entry), read_version(repo, commit, asset, entry)))
    return [version for _, version in sorted(found, key=lambda item: (-item[0], item[1].asset, item[1].fingerprint))]


def plan_collection(repo: Repo, keep: Collection[str]) -> Plan:
    """What to remove when only the branches `keep` are to stay. The caller holds the store's lock."""
    branches = [ref.removeprefix(BRANCHES) for ref in git.refs_under(repo, BRANCHES)]
    gone = [name for name in branches if name != MAIN and name not in keep]
    staying = set(branches) - set(gone)
    held, origins = _referred(repo, [branch_ref(name) for name in sorted(staying)])
    versions = [version for version in listed(repo) if version_ref(version) not in held]
    refs = [branch_ref(name) for name in gone]
    refs += [ref for ref in git.refs_under(repo, BASES) if ref.removeprefix(BASES) not in staying]
    refs += [version_ref(version) for version in versions]
    remaining = {ref for ref in git.refs_under(repo, "refs/") if not ref.startswith(LINEAGE)} - set(refs)
    objects = git.reachable(repo, _commits(repo, remaining))
    lineage = origins - objects
    refs += [ref for ref in git.refs_under(repo, LINEAGE) if ref.removeprefix(LINEAGE).encode() not in lineage]
    return Plan(gone, versions, refs, lineage, _readable(repo, held.values()), objects | git.reachable(repo, lineage))


def carry_out(repo: Repo, plan: Plan) -> None:
    """Move the references; contents and objects are then nobody's. The caller holds the store's lock."""
    unsynced: Unsynced = set()
    for commit in sorted(plan.lineage):
        git.move_ref(repo, LINEAGE + commit.decode(), git.commit_at(repo, commit).id, unsynced)
    sync_all(unsynced)
    for ref in plan.refs:
        git.remove_ref(repo, ref, unsynced)
    sync_all(unsynced)


def live_contents(repo: Repo) -> set[str]:
    """The data versions that any listed version has, or any branch or release; not those erased."""
    held, _ = _referred(repo, git.refs_under(repo, BRANCHES))
    return _readable(repo, [*listed(repo), *held.values()])


def _referred(repo: Repo, heads: Iterable[str]) -> tuple[dict[str, Version], set[bytes]]:
    """What the releases, tags and these references hold, with all it was computed from; by reference of the version.

    Also the commits that the inputs of these versions are named by.
    """
    main = git.read_ref(repo, branch_ref(MAIN))
    commits = [release.commit.encode() for release in releases_from(repo, main)]
    commits += _commits(repo, [*heads, *git.refs_under(repo, TAGS)])
    queue = [(commit, asset, entry) for commit in commits for asset, entry in assets_at(repo, commit).items()]
    seen: set[Entry] = set()
    versions: dict[str, Version] = {}
    origins: set[bytes] = set()
    while queue:
        commit, asset, entry = queue.pop()
        if entry in seen:
            continue
        seen.add(entry)
        version = read_version(repo, commit, asset, entry)
        versions[version_ref(version)] = version
        for name, origin in version.inputs.items():
            source = origin["commit"].encode()
            if git.known(repo, source):
                origins.add(source)
                queue.append((source, name, assets_at(repo, source)[name]))
    return versions, origins


def _commits(repo: Repo, refs: Iterable[str]) -> list[bytes]:
    return [commit for ref in refs if (commit := git.read_ref(repo, ref))]


def _readable(repo: Repo, versions: Iterable[Version]) -> set[str]:
    return {version.data_version for version in versions if git.read_ref(repo, erased_ref(version)) is None}
