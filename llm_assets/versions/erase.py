"""Erasing rows: from every artifact and model that saw them, and from all that people's files and records say of them.

What was begun is written down (`erasures/` in the state folder; ids and hashes, no text) before anything is removed,
and each step can be repeated: after a kill, the same command completes it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from llm_assets.artifacts import DOCUMENTS, read_json, write_json
from llm_assets.data.erasure import add_erased
from llm_assets.errors import UserError
from llm_assets.versions.fragments import Fragments, fragments, without
from llm_assets.versions.names import PACKAGE_ASSET
from llm_assets.versions.proof import JOURNALS, Proof, prove
from llm_assets.versions.purge import purge_files, purge_packages, purge_runs, record_matcher
from llm_assets.versions.sightings import SOURCE, Sightings, batches, sightings
from resources.store import MAIN, ManagedStore

if TYPE_CHECKING:
    import dagster as dg

RAW = "raw_documents"
ROUNDS = 4  # a row that was dropped for repeating an erased one comes forth when that is gone, and goes in the next


class Endpoint(Protocol):
    """What erasing needs of `resources.endpoint`."""

    def current(self) -> dict[str, Any] | None: ...
    def withdraw(self, digest: str) -> None: ...


@dataclass
class Journal:
    """An erasure under way. versions: (asset, data version) of what saw the rows. wanted: runs of words of the texts
    that are in no other row, hashed: what the proof looks for.
    """

    name: str
    ids: set[str]
    hashes: set[str]
    versions: set[tuple[str, str]]
    wanted: Fragments

    @classmethod
    def load(cls, home: Path, name: str) -> Journal | None:
        path = journal_path(home, name)
        if not path.is_file():
            return None
        stored = read_json(path)
        return cls(
            name=stored["name"],
            ids=set(stored["ids"]),
            hashes=set(stored["hashes"]),
            versions={(asset, version) for asset, version in stored["versions"]},
            wanted={int(size): set(hashes) for size, hashes in stored["wanted"].items()},
        )

    def save(self, home: Path) -> None:
        wanted = {str(size): sorted(hashes) for size, hashes in self.wanted.items()}
        write_json(
            {
                "name": self.name,
                "ids": sorted(self.ids),
                "hashes": sorted(self.hashes),
                "versions": sorted(self.versions),
                "wanted": wanted,
            },
            journal_path(home, self.name),
        )

    def add(self, seen: Sightings) -> None:
        self.ids |= seen.ids
        self.hashes |= seen.hashes
        self.versions |= {(s.version.asset, s.version.data_version) for s in seen.seen}
        self.versions |= {(version.asset, version.data_version) for version in seen.unread}


@dataclass(frozen=True)
class Erasure:
    """What was done. rebuilt: assets that were made anew; the rest are removals. problem: why it is not complete."""

    rebuilt: list[str]
    files: list[str]
    versions: int
    freed: int
    packages: list[str]
    runs: list[str]
    proof: Proof | None
    problem: str = ""

    @property
    def complete(self) -> bool:
        return not self.problem and self.proof is not None and not self.proof.found


def who_saw(store: ManagedStore, home: Path, name: str) -> Sightings:
    """All that saw the row or source `name`, or a row with the same content from elsewhere.

    Raises UserError when there is no such row, or when it was made from another one, which is the one to erase.
    """
    first = sightings(store, home, name)
    parents = _parents(store, first, name)
    if parents:
        raise UserError(f"row {name} was made from {', '.join(sorted(parents))}: erase that, and this goes with it.")
    return sightings(store, home, name, first.hashes)


def to_erase(store: ManagedStore, home: Path, name: str) -> Sightings | None:
    """Who saw it, for a person to look at; None when all that did is gone and an erasure is to be completed.

    Raises UserError when there is no such row.
    """
    try:
        return who_saw(store, home, name)
    except UserError:
        if Journal.load(home, name) is None:
            raise
        return None


def erase(
    store: ManagedStore,
    home: Path,
    name: str,
    *,
    endpoint: Endpoint,
    instance: dg.DagsterInstance,
    rebuild: Callable[[list[str]], str],
) -> Erasure:
    """Erase the row with the id or content hash `name`, or all rows of `source:<name>`.

    rebuild: makes these assets anew and publishes them; why that failed, or an empty text. Until it has succeeded
    nothing is forgotten, and what is served goes on being served. Raises UserError when there is no such row.
    """
    seen = to_erase(store, home, name)
    journal = Journal.load(home, name) or Journal(name, set(), set(), set(), {})
    if seen is not None:
        journal.wanted = journal.wanted or _distinctive(store, seen)
        journal.add(seen)
        journal.save(home)
    current = endpoint.current()
    if current and (PACKAGE_ASSET, current["digest"]) in journal.versions:
        endpoint.withdraw(current["digest"])  # the one made without the rows takes its place, however it does
    sources = [name.removeprefix(SOURCE)] if name.startswith(SOURCE) else []
    files: list[str] = []
    rebuilt: dict[str, None] = {}
    for _ in range(ROUNDS):
        add_erased(home, journal.ids, journal.hashes, sources)
        files += purge_files(home, record_matcher(journal.ids, journal.hashes, journal.wanted))
        stained = _stained(store, journal)
        if not stained:
            break
        problem = rebuild(stained)
        if problem:
            return Erasure(list(rebuilt), files, 0, 0, [], [], None, problem)
        rebuilt |= dict.fromkeys(stained)
        _catch_up(store, home, journal)
    else:
        problem = f"main still holds what saw the rows: {', '.join(_stained(store, journal))}"
        return Erasure(list(rebuilt), files, 0, 0, [], [], None, problem)
    listed = [
        version
        for asset in sorted({asset for asset, _ in journal.versions})
        for version in store.versions(asset)
        if (asset, version.data_version) in journal.versions
    ]
    freed = store.forget(listed) if listed else 0
    serving = (endpoint.current() or {}).get("digest")
    digests = {version for asset, version in journal.versions if asset == PACKAGE_ASSET}
    packages = purge_packages(home, digests, serving)
    runs = purge_runs(instance, home, journal.versions)
    proof = prove(store, home, journal.ids, journal.hashes, journal.wanted, journal.versions)
    if not proof.found:
        journal_path(home, name).unlink()
    return Erasure(list(rebuilt), files, len(listed), freed, packages, runs, proof)


def journal_path(home: Path, name: str) -> Path:
    return home / JOURNALS / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.json"


def _stained(store: ManagedStore, journal: Journal) -> list[str]:
    """The assets whose version on main saw the rows."""
    heads = store.heads(MAIN)
    return [asset for asset, version in heads.items() if (asset, version.data_version) in journal.versions]


def _catch_up(store: ManagedStore, home: Path, journal: Journal) -> None:
    """What has been made from the rows since, and rows that only now turn out to have the same content."""
    try:
        journal.add(sightings(store, home, journal.name, journal.hashes))
        journal.save(home)
    except UserError:
        pass  # all of them are forgotten already


def _distinctive(store: ManagedStore, seen: Sightings) -> Fragments:
    """Runs of words of the rows' texts, in all their versions, that no other raw document has."""
    raw = {version.data_version: version for version in store.versions(RAW)}
    return without(fragments(_texts(store, seen)), _others(store, raw, seen))


def _texts(store: ManagedStore, seen: Sightings) -> Iterator[str]:
    for sighting in seen.seen:
        path = store.checkout(sighting.version) / DOCUMENTS if sighting.how == "holds" else None
        if path is not None and path.exists():
            yield from (row["text"] or "" for row in _rows(path) if row["id"] in seen.ids)


def _others(store: ManagedStore, raw: Mapping[str, Any], seen: Sightings) -> Iterator[str]:
    for version in raw.values():
        try:
            path = store.checkout(version) / DOCUMENTS
        except UserError:
            continue
        yield from (row["text"] or "" for row in _rows(path) if row["id"] not in seen.ids)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    for batch in batches(path, ("id", "text")):
        yield from batch.to_pylist()


def _parents(store: ManagedStore, seen: Sightings, name: str) -> set[str]:
    """What the row `name` itself was made from."""
    found: set[str] = set()
    for sighting in seen.seen if not name.startswith(SOURCE) else []:
        path = store.checkout(sighting.version) / DOCUMENTS if sighting.how == "holds" else None
        if path is not None and path.exists():
            for batch in batches(path, ("id", "parents")):
                rows = zip(batch["id"].to_pylist(), batch["parents"].to_pylist(), strict=True)
                found |= {parent for id_, parents in rows if id_ == name for parent in parents or ()}
    return found
