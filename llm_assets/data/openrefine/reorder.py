"""The operation that sorts rows or records, for tables larger than memory: sorted runs on disk, merged."""

from __future__ import annotations

import heapq
import pickle
import tempfile
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import total_ordering
from pathlib import Path
from typing import IO, Any, NamedTuple

from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import Prepared, operation
from llm_assets.data.openrefine.table import PART, Table, records, together
from llm_assets.data.openrefine.value_functions import truth
from llm_assets.data.openrefine.values import EvalError, Value, collation_key, is_data, is_number, text_of

PIECE, PIECE_BYTES = 200, 2**16  # rows, or records, of a run that are in memory, about so large


@total_ordering
class Backward:
    """A key that sorts the other way round."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backward) and bool(self.key == other.key)

    def __lt__(self, other: Backward) -> bool:
        return bool(other.key < self.key)

    __hash__ = None  # type: ignore[assignment]


Rank = tuple[int, Any]  # (the place of values, blanks or errors, the key of a value)


class Group(NamedTuple):
    """A row or a record on its way: its keys, the place of its first row among all, and its rows: each a star, a flag,
    the number as read, and the cells."""

    keys: tuple[Rank, ...]
    place: int
    rows: list[tuple[Any, ...]]


@operation("row-reorder")
def reorder(fields: Fields) -> Prepared:
    by_record = fields.choice("mode", ("row-based", "record-based"), "row-based") == "record-based"
    sorting = fields.section("sorting") if fields.has("sorting") else None
    criteria = [_criterion(item) for item in sorting.sections("criteria")] if sorting else []

    def groups(table: Table) -> list[Group]:
        places = records(table) if by_record else [range(n, n + 1) for n in range(table.rows)]
        columns = [(table.column(column), rank) for column, rank in criteria]
        ranks = [tuple(rank([cells[n] for n in group]) for cells, rank in columns) for group in places]
        order = sorted(range(len(places)), key=ranks.__getitem__)
        rows = list(zip(table.starred, table.flagged, table.origin, *table.columns.values(), strict=True))
        return [Group(ranks[n], table.start + places[n].start, rows[places[n].start : places[n].stop]) for n in order]

    def through(tables: Iterator[Table], folder: Path | None) -> Iterator[tuple[Table, int]]:
        with tempfile.TemporaryFile(prefix="llm-assets-reorder-", dir=folder) as runs:
            starts, names = list[int](), list[str]()
            for table in tables:
                names = table.names
                sorted_groups = groups(table)
                starts.append(runs.tell())
                for piece in together(iter(sorted_groups), PIECE, _size, PIECE_BYTES):
                    pickle.dump(piece, runs)
                pickle.dump([], runs)
                if not table.rows:
                    yield table, 0  # it says what the columns are
            merged = heapq.merge(*(_run(runs, start) for start in starts), key=lambda group: group.keys)
            yield from _parts(merged, names)

    return Prepared(lambda table: (table, 0), "records" if by_record else "rows", through=through)


def _run(runs: IO[bytes], start: int) -> Iterator[Group]:
    """The groups of a run, of which a piece is in memory."""
    while True:
        runs.seek(start)
        piece: list[Group] = pickle.load(runs)
        start = runs.tell()
        if not piece:
            return
        yield from piece


def _parts(groups: Iterator[Group], names: Sequence[str]) -> Iterator[tuple[Table, int]]:
    """(rows together, how many of them were elsewhere before)."""
    done = 0
    for some in together(groups, PART, _size):
        moved = 0
        for group in some:
            moved += len(group.rows) if group.place != done else 0
            done += len(group.rows)
        if some:
            yield _table([row for group in some for row in group.rows], names), moved


def _size(group: Group) -> int:
    return sum(len(cell) for row in group.rows for cell in row if isinstance(cell, str))


def _table(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> Table:
    starred, flagged, origin, *cells = (list(side) for side in zip(*rows, strict=True))
    return Table(dict(zip(names, cells, strict=True)), starred, flagged, origin)


def _criterion(item: Fields) -> tuple[str, Callable[[Sequence[Value]], Rank]]:
    """(column, the rank of a group's cells in it): the place of blanks and errors is relative to values at 0."""
    kind = item.choice("valueType", ("string", "text", "number", "date", "boolean"), "text")
    case, backward = item.flag("caseSensitive"), item.flag("reverse")
    blank, error = item.whole("blankPosition", 2), item.whole("errorPosition", 1)
    if not blank or not error:
        raise item.error("blankPosition and errorPosition must be below or above 0, which is the place of values")

    def key(value: Value) -> Any:
        """The sort key of a value; None where it is not of the kind, which counts as an error."""
        if kind == "number":
            return value if is_number(value) and value == value else None
        if kind == "date":
            return value if isinstance(value, datetime) else None
        if kind == "boolean":
            return truth(value)
        return collation_key(text_of(value), case)

    def rank(cells: Sequence[Value]) -> Rank:
        keys = [found for cell in cells if is_data(cell) and (found := key(cell)) is not None]
        if keys:
            return 0, Backward(max(keys)) if backward else min(keys)
        broken = any(isinstance(cell, EvalError) or is_data(cell) for cell in cells)
        return error if broken else blank, 0

    return item.text("column"), rank
