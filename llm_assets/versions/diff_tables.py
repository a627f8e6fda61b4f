"""Two versions of a table: rows added, removed and changed, by id and content, without holding the texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import open_table

if TYPE_CHECKING:
    import pyarrow as pa

ID, CONTENT = "id", "content_hash"
BATCH = 20_000


@dataclass(frozen=True)
class TableDiff:
    """Counts of rows by id. changed: with another content; touched: with equal content and other values elsewhere.

    columns: column -> rows in which it differs, among those that both tables have. The samples are whole rows, of
    changed ones (before, after).
    """

    rows: tuple[int, int]
    added: int
    removed: int
    changed: int
    touched: int
    columns: dict[str, int]
    added_samples: list[dict[str, Any]]
    removed_samples: list[dict[str, Any]]
    changed_samples: list[tuple[dict[str, Any], dict[str, Any]]]


def diff_tables(old: Path, new: Path, samples: int) -> TableDiff:
    """Compare two Parquet files with an `id` column.

    Ids and hashes are held (some tens of bytes a row); the other columns are compared a batch at a time. A table
    without `content_hash` is compared by all its columns: a row that differs is changed.
    """
    import pyarrow.compute as pc

    before, after = _keys(old), _keys(new)
    was, is_ = before[ID], after[ID]
    added = after.filter(pc.invert(pc.is_in(is_, was.combine_chunks())))[ID].to_pylist()
    removed = before.filter(pc.invert(pc.is_in(was, is_.combine_chunks())))[ID].to_pylist()
    columns, differing, hashed = _compare(old, new)
    changed = hashed if CONTENT in before.schema.names and CONTENT in after.schema.names else differing
    picks = sorted(changed)[:samples]
    older, newer = _rows(old, picks), _rows(new, picks)
    return TableDiff(
        rows=(before.num_rows, after.num_rows),
        added=len(added),
        removed=len(removed),
        changed=len(changed),
        touched=len(differing - changed),
        columns=columns,
        added_samples=list(_rows(new, added[:samples]).values()),
        removed_samples=list(_rows(old, removed[:samples]).values()),
        changed_samples=[(older[id_], newer[id_]) for id_ in picks],
    )


def _keys(path: Path) -> pa.Table:
    """Ids, and hashes of contents where there are any."""
    import pyarrow.parquet as pq

    names = pq.read_schema(path).names
    return pq.read_table(path, columns=[name for name in (ID, CONTENT) if name in names], memory_map=True)


def _compare(old: Path, new: Path) -> tuple[dict[str, int], set[str], set[str]]:
    """Column -> rows that differ in it; the ids of all rows that differ, and of those that do in content.

    Rows that both have mostly come in the same order, so a batch of one is joined with what has been read of the
    other and not been met yet.
    """
    columns: dict[str, int] = {}
    differing: set[str] = set()
    hashed: set[str] = set()
    for left, right in _met(old, new):
        for name in left.schema.names:
            if name == ID or name not in right.schema.names:
                continue
            rows = _unequal(left[name], right[name])
            if len(rows):
                columns[name] = columns.get(name, 0) + len(rows)
                ids = set(left[ID].take(rows).to_pylist())
                differing |= ids
                if name == CONTENT:
                    hashed |= ids
    return dict(sorted(columns.items(), key=lambda item: -item[1])), differing, hashed


def _met(old: Path, new: Path) -> Iterator[tuple[pa.Table, pa.Table]]:
    """The rows that both tables have, in pairs of tables with the same ids in the same order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    left, right = _batches(old), _batches(new)
    rest: list[pa.Table | None] = [None, None]
    while True:
        ended = True
        for side, batches in enumerate((left, right)):
            batch = next(batches, None)
            if batch is not None:
                ended = False
                held = rest[side]
                rest[side] = batch if held is None else pa.concat_tables([held, batch])
        a, b = rest
        if a is not None and b is not None:
            places = pc.index_in(a[ID], b[ID].combine_chunks())
            met = pc.is_valid(places)
            if pc.any(met).as_py():
                yield a.filter(met), b.take(places.filter(met))
                rest = [a.filter(pc.invert(met)), b.filter(pc.invert(pc.is_in(b[ID], a[ID].combine_chunks())))]
        if ended:
            return


def _batches(path: Path) -> Iterator[pa.Table]:
    import pyarrow as pa

    with open_table(path) as file:
        for batch in file.iter_batches(batch_size=BATCH):
            yield pa.Table.from_batches([batch])


def _unequal(left: pa.ChunkedArray, right: pa.ChunkedArray) -> pa.Array:
    """Positions at which two columns differ; two nulls are equal."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_nested(left.type) or left.type != right.type:
        pairs = zip(left.to_pylist(), right.to_pylist(), strict=True)
        return pa.array([at for at, (a, b) in enumerate(pairs) if a != b], pa.int64())
    same = pc.fill_null(pc.equal(left, right), False)
    both_null = pc.and_(pc.is_null(left), pc.is_null(right))
    return pc.indices_nonzero(pc.invert(pc.or_(same, both_null)))


def _rows(path: Path, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """id -> the row, in the order asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not ids:
        return {}
    wanted = pa.array(ids, pa.string())
    found: dict[str, dict[str, Any]] = {}
    for table in _batches(path):
        for row in table.filter(pc.is_in(table[ID], wanted)).to_pylist():
            found[row[ID]] = row
        if len(found) == len(ids):
            break
    return {id_: found[id_] for id_ in ids if id_ in found}
