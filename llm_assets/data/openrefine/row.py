"""Rows one by one, for operations that make other rows of them, and parts of a table of these."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from llm_assets.data.openrefine.table import PART, Table, together
from llm_assets.data.openrefine.values import Value

CELL_BYTES = 8  # of a cell beside its text


class Row(NamedTuple):
    """cells: in the order of the columns, never changed; star, flag and origin as a `Table` has them."""

    cells: Sequence[Value]
    starred: bool = False
    flagged: bool = False
    origin: int = -1


def rows_of(table: Table) -> Iterator[Row]:
    cells = zip(*table.columns.values(), strict=True) if table.columns else ((),) * table.rows
    return map(Row, cells, table.starred, table.flagged, table.origin)


def table_of_rows(names: Sequence[str], rows: Sequence[Row]) -> Table:
    """A column of several that have one name is the last of them."""
    cells = zip(*(row.cells for row in rows), strict=True) if rows else ((),) * len(names)
    return Table(
        {name: list(column) for name, column in zip(names, cells, strict=True)},
        [row.starred for row in rows],
        [row.flagged for row in rows],
        [row.origin for row in rows],
    )


def size_of(row: Row) -> int:
    return sum(len(cell) for cell in row.cells if isinstance(cell, str)) + CELL_BYTES * len(row.cells)


def in_parts(names: Sequence[str], rows: Iterable[tuple[Row, int]]) -> Iterator[tuple[Table, int]]:
    """(a part of the table, what its rows count as changed): rows with what each counts; one part at least."""
    for some in together(iter(rows), PART, lambda made: size_of(made[0])):
        yield table_of_rows(names, [row for row, _ in some]), sum(changed for _, changed in some)


def opened(tables: Iterator[Table]) -> tuple[Table, Iterator[Table]] | None:
    """(a table of no rows, which says what the columns are; all parts); None where there is no part."""
    first = next(tables, None)
    return None if first is None else (first.take([]), chain([first], tables))
