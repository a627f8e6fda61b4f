"""From a training example back to where it is from: its rows at every stage, and the steps between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.artifacts import DOCUMENTS, REJECTED, read_table
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

STAGES = ("raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents")
COLUMNS = [
    "id",
    "label",
    "split",
    "weight",
    "source",
    "uri",
    "licence",
    "content_hash",
    "parents",
    "steps",
    "fetched_at",
]
BETWEEN = "\x1f"


@dataclass(frozen=True)
class Link:
    """A row at one stage. `steps` are those that this stage added; `made_from` the ids it comes from at the one before.

    A rejected row is a link of the stage that rejected it, with its `reason`.
    """

    stage: str
    id: str
    made_from: tuple[str, ...]
    steps: tuple[str, ...]
    source: str
    uri: str
    licence: str | None
    label: str | None
    split: str | None
    weight: float | None
    content_hash: str
    fetched_at: datetime | None
    reason: str | None = None


@dataclass(frozen=True)
class Chain:
    """links: from the source to the row asked for; missing: ids of parents that no stage holds (normally none)."""

    id: str
    links: tuple[Link, ...]
    missing: tuple[str, ...] = ()

    @property
    def origins(self) -> tuple[Link, ...]:
        """The raw documents it is made of."""
        return tuple(link for link in self.links if link.stage == STAGES[0])

    @property
    def steps(self) -> tuple[str, ...]:
        """Every step on the way, in order."""
        return tuple(step for link in self.links for step in link.steps)


def row_chain(folders: Mapping[str, Path], row_id: str) -> Chain:
    """The chain of one row; see `row_chains`. An id that no stage holds is a UserError."""
    chain = row_chains(folders, [row_id])[row_id]
    if not chain.links:
        raise UserError(f"no document has the id {row_id!r}: take one from a column `id` of {', '.join(STAGES)}")
    return chain


def row_chains(folders: Mapping[str, Path], row_ids: Iterable[str]) -> dict[str, Chain]:
    """The chain of each row, which may be of any stage. folders: stage -> the folder of its artifact.

    A row carried from one stage to the next keeps its id; a row made there names its parents. Each stage is read once
    for every generation of rows made within it, ids first, so the cost is that of a scan, however many rows are asked.
    """
    wanted = sorted(set(row_ids))
    tables = {stage: folders[stage] / DOCUMENTS for stage in STAGES}
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    gone: dict[str, tuple[str, dict[str, Any]]] = {}
    for stage in STAGES:
        path = folders[stage] / REJECTED
        if path.is_file():
            gone |= {row["id"]: (stage, row) for row in _rows(path, set(wanted), [*COLUMNS, "reason"])}
    sought = {*wanted, *(parent for _, row in gone.values() for parent in row["parents"] or [])}
    for stage in reversed(STAGES):
        asked: set[str] = set()
        while fresh := sought - asked:
            found = _rows(tables[stage], fresh)
            rows |= {(stage, row["id"]): row for row in found}
            asked |= fresh
            sought |= {parent for row in found for parent in row["parents"] or []}
    return {row_id: _chain(row_id, rows, gone) for row_id in wanted}


def broken_steps(folders: Mapping[str, Path]) -> dict[str, int]:
    """Stage -> rows whose steps do not tell how they came about: 0 everywhere, or provenance has a hole.

    A row's steps start with those of the row it comes from; where text or label differ from that row's, or the row is
    new, it names at least one step more.
    """
    found, before = {}, _columns(folders[STAGES[0]])
    for stage in STAGES[1:]:
        after = _columns(folders[stage])
        found[stage] = _broken(before, after)
        before = after
    return found


def _chain(
    row_id: str, rows: Mapping[tuple[str, str], dict[str, Any]], gone: Mapping[str, tuple[str, dict[str, Any]]]
) -> Chain:
    links: dict[tuple[str, str], Link] = {}
    missing: list[str] = []

    def visit(identity: str, stage: int) -> bool:
        """Add the links of a row, the oldest first; False where no stage up to this one has it."""
        while stage >= 0 and (STAGES[stage], identity) not in rows:
            stage -= 1
        if stage < 0:
            return False
        key = (STAGES[stage], identity)
        if key in links:
            return True
        row, before = rows[key], STAGES[stage - 1]
        carried = stage > 0 and (before, identity) in rows
        parents = [identity] if carried else list(row["parents"] or [])
        missing.extend(parent for parent in parents if not visit(parent, stage - 1 if carried else stage))
        first = rows.get((before, parents[0])) or rows.get((key[0], parents[0])) if parents else None
        known = list((first or {}).get("steps") or [])
        steps = list(row["steps"] or [])
        added = steps[len(known) :] if steps[: len(known)] == known else steps
        links[key] = _link(key[0], row, tuple(parents), tuple(added))
        return True

    visit(row_id, len(STAGES) - 1)
    if row_id in gone:
        stage, row = gone[row_id]
        place = STAGES.index(stage)
        carried = any((before, row_id) in rows for before in STAGES[:place])
        parents = (row_id,) if carried else tuple(row["parents"] or ())  # made and dropped again by one stage
        missing.extend(parent for parent in parents if not visit(parent, place))
        links.setdefault((stage, row_id), _link(stage, row, parents, (), row["reason"]))
    return Chain(row_id, tuple(links.values()), tuple(missing))


def _link(
    stage: str, row: Mapping[str, Any], parents: tuple[str, ...], steps: tuple[str, ...], reason: str | None = None
) -> Link:
    same = ("id", "source", "uri", "licence", "label", "split", "weight", "content_hash", "fetched_at")
    return Link(stage=stage, made_from=parents, steps=steps, reason=reason, **{name: row[name] for name in same})


def _rows(path: Path, ids: set[str], columns: list[str] = COLUMNS) -> list[dict[str, Any]]:
    """The rows of these ids, batch by batch: only what matches is held."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.dataset as ds

    table = ds.dataset(path).to_table(columns=columns, filter=pc.field("id").isin(pa.array(sorted(ids), pa.string())))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def _columns(folder: Path) -> pa.Table:
    return read_table(folder / DOCUMENTS, ["id", "label", "content_hash", "parents", "steps"])


def _broken(before: pa.Table, after: pa.Table) -> int:
    """Rows of `after` with incomplete steps, by columns: combinations of steps are few, so each is judged once."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not after.num_rows:
        return 0
    both = pa.concat_tables([before, after]).combine_chunks()
    parents = both["parents"].combine_chunks()
    first = pc.list_element(
        pc.if_else(pc.equal(pc.list_value_length(parents), 0), pa.scalar([None], parents.type), parents), 0
    )
    new = slice(before.num_rows, both.num_rows)
    carried = pc.index_in(after["id"].combine_chunks(), before["id"].combine_chunks())
    origin = pc.coalesce(carried, pc.index_in(first[new], both["id"].combine_chunks()))
    lost = origin.is_null().to_numpy(zero_copy_only=False)
    old = origin.fill_null(0).to_numpy()
    changed = carried.is_null().to_numpy(zero_copy_only=False)  # a row made here
    for name in ("label", "content_hash"):
        values = both[name].combine_chunks().fill_null(BETWEEN).dictionary_encode().indices.to_numpy()
        changed |= values[new] != values[old]
    joined = pc.binary_join(both["steps"].combine_chunks().fill_null([]), BETWEEN).dictionary_encode()
    names = [text.split(BETWEEN) if text else [] for text in joined.dictionary.to_pylist()]
    codes = joined.indices.to_numpy()
    pairs, inverse = np.unique(np.stack([codes[old], codes[new]], axis=1), axis=0, return_inverse=True)
    inverse = inverse.reshape(-1)
    starts = np.array([names[b][: len(names[a])] == names[a] for a, b in pairs])[inverse]
    longer = np.array([len(names[b]) > len(names[a]) for a, b in pairs])[inverse]
    return int((lost | ~starts | (changed & ~longer)).sum())
