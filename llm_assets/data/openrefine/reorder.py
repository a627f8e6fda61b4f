"""The operation that sorts rows or records."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import total_ordering
from pathlib import Path
from typing import Any

from llm_assets.data.openrefine.collation import collation_key
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import Prepared, operation
from llm_assets.data.openrefine.row import Row, in_parts, rows_of
from llm_assets.data.openrefine.runs import Item, Runs
from llm_assets.data.openrefine.table import Table, records
from llm_assets.data.openrefine.value_functions import truth
from llm_assets.data.openrefine.values import EvalError, Value, is_data, is_number, text_of


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


@operation("row-reorder")
def reorder(fields: Fields) -> Prepared:
    by_record = fields.choice("mode", ("row-based", "record-based"), "row-based") == "record-based"
    sorting = fields.section("sorting") if fields.has("sorting") else None
    criteria = [_criterion(item) for item in sorting.sections("criteria")] if sorting else []
    backwards = [backward for _, backward, _ in criteria]

    def key(group: Item) -> list[Rank]:
        return [
            (place, Backward(found) if backward and not place else found)
            for (place, found), backward in zip(group[0], backwards, strict=True)
        ]

    def groups(table: Table) -> Iterator[Item]:
        """Of each row or record: its ranks, the place of its first row among all, and its rows."""
        places = records(table) if by_record else (range(n, n + 1) for n in range(table.rows))
        columns = [(table.column(column), rank) for column, _, rank in criteria]
        rows = list(rows_of(table))
        for group in places:
            ranks = [rank([cells[n] for n in group]) for cells, rank in columns]
            yield [ranks, table.start + group.start, rows[group.start : group.stop]]

    def through(tables: Iterator[Table], folder: Path | None) -> Iterator[tuple[Table, int]]:
        names: list[str] | None = None
        with Runs(key, folder) as runs:
            for table in tables:
                names = table.names
                runs.add(groups(table))
            if names is not None:
                yield from in_parts(names, _rows(runs.merged()))

    return Prepared(None, "records" if by_record else "rows", through=through)


def _rows(groups: Iterator[Item]) -> Iterator[tuple[Row, int]]:
    """Each row, and whether it was elsewhere before."""
    done = 0
    for _, place, rows in groups:
        moved = int(place != done)
        done += len(rows)
        yield from ((Row(*row), moved) for row in rows)


def _criterion(item: Fields) -> tuple[str, bool, Callable[[Sequence[Value]], Rank]]:
    """(column, whether the largest is first, the rank of a group's cells in it): the place of blanks and errors is
    relative to values at 0."""
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
            return 0, max(keys) if backward else min(keys)
        broken = any(isinstance(cell, EvalError) or is_data(cell) for cell in cells)
        return error if broken else blank, 0

    return item.text("column"), backward, rank
