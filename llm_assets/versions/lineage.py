"""Where a version comes from: every version upstream of it, down to the rows with their source and licence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from llm_assets.artifacts import DOCUMENTS, read_table
from llm_assets.graph import NODES, topological
from llm_assets.versions.names import Named, release_names, resolve_one
from resources.store import ManagedStore, Version, lineage

TEXT = 200  # characters of a row's text that are shown


@dataclass(frozen=True)
class Origin:
    """Rows of one source under one licence; split: None where the table has not been split yet."""

    source: str
    licence: str
    split: str | None
    rows: int


@dataclass(frozen=True)
class Row:
    """One row of a document table; `text` is cut to its first 200 characters."""

    id: str
    source: str
    uri: str
    licence: str
    split: str
    steps: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class Lineage:
    """All that is upstream of one version.

    versions: asset -> the exact version that was read, in the order of the data's way, the version itself last.
    releases: asset -> the releases that hold that version, newest first. origins: table -> its rows, counted.
    rows: some of those that the version was made from, out of the table `rows_of`.
    """

    named: Named
    version: Version
    versions: Mapping[str, Version]
    releases: Mapping[str, list[str]]
    origins: Mapping[str, list[Origin]]
    rows_of: str | None
    rows: list[Row]


def trace(store: ManagedStore, home: Path, name: str, rows: int = 0) -> Lineage:
    """The lineage of the version that `name` stands for (see `names`), with `rows` sample rows.

    Raises UserError when it stands for none, or when a table upstream is damaged or has been erased.
    """
    named, version = resolve_one(store, home, name)
    found = lineage(store, version)
    order = in_order(found)
    names = release_names(store)
    tables = [name for name in order if DOCUMENTS in found[name].metadata.get("files", ())]
    origins = {name: count_origins(store.checkout(found[name]) / DOCUMENTS) for name in tables}
    last = tables[-1] if tables else None
    return Lineage(
        named=named,
        version=version,
        versions={name: found[name] for name in order},
        releases={name: names.get((name, found[name].data_version), []) for name in order},
        origins=origins,
        rows_of=last,
        rows=sample_rows(store.checkout(found[last]) / DOCUMENTS, rows) if last and rows else [],
    )


def in_order(versions: Mapping[str, Version]) -> list[str]:
    """The assets of `versions`, inputs first, by what the versions themselves say they were made from."""
    place = {name: at for at, name in enumerate(topological(NODES))}
    sorter = TopologicalSorter({name: set(version.inputs) & set(versions) for name, version in versions.items()})
    sorter.prepare()
    found: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready(), key=lambda name: (place.get(name, len(place)), name))
        found += ready
        sorter.done(*ready)
    return found


def count_origins(table: Path) -> list[Origin]:
    """The rows of a document table by source, licence and split, most rows first."""
    import pyarrow as pa

    columns = ["source", "licence", "split"]
    grouped: pa.Table = read_table(table, columns).group_by(columns).aggregate([([], "count_all")])
    counts: Counter[tuple[str, str, str | None]] = Counter()
    for row in grouped.to_pylist():
        counts[row["source"], row["licence"] or "unknown", row["split"]] += row["count_all"]
    found = [Origin(source, licence, split, rows) for (source, licence, split), rows in counts.items()]
    return sorted(found, key=lambda origin: (-origin.rows, origin.source, origin.licence, origin.split or ""))


def sample_rows(table: Path, count: int) -> list[Row]:
    """At most `count` rows, evenly spaced over the table."""
    columns = ["id", "source", "uri", "licence", "split", "steps", "text"]
    rows = read_table(table, columns)
    picks = list(range(0, rows.num_rows, max(1, rows.num_rows // max(count, 1))))[:count]
    return [row_of(value) for value in rows.take(picks).to_pylist()]


def row_of(value: Mapping[str, Any]) -> Row:
    return Row(
        id=value["id"],
        source=value["source"],
        uri=value["uri"],
        licence=value["licence"] or "unknown",
        split=value["split"] or "",
        steps=tuple(value["steps"] or ()),
        text=(value["text"] or "")[:TEXT],
    )
