"""The table an operation works on: columns of cell values, with stars, flags and the number each row had first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, TypeVar

from llm_assets.data.openrefine.values import EvalError, Value, is_data, text_of
from llm_assets.errors import UserError

PART, PART_BYTES = 20_000, 16 * 2**20  # rows that are in Python at a time while operations stream, about so large
Row = TypeVar("Row")


@dataclass(frozen=True)
class Table:
    """Rows `start` to `start + rows` of a table, by column. A list of cells is never changed once it is in a table.

    origin: for each row, its number in the table as read (-1: made by an operation). first_record: the number of the
    first record, where no record is cut.
    """

    columns: dict[str, list[Value]]
    starred: list[bool]
    flagged: list[bool]
    origin: list[int]
    start: int = 0
    first_record: int = 0

    @property
    def rows(self) -> int:
        return len(self.origin)

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    def column(self, name: str) -> list[Value]:
        if name not in self.columns:
            raise UserError(f"no column {name!r}; there are {', '.join(self.columns) or 'none'}")
        return self.columns[name]

    def with_column(self, name: str, cells: list[Value]) -> Table:
        return replace(self, columns={**self.columns, name: cells})

    def with_columns(self, columns: dict[str, list[Value]]) -> Table:
        return replace(self, columns=columns)

    def take(self, places: Sequence[int]) -> Table:
        """The rows at `places`, in that order."""
        return Table(
            {name: [cells[n] for n in places] for name, cells in self.columns.items()},
            [self.starred[n] for n in places],
            [self.flagged[n] for n in places],
            [self.origin[n] for n in places],
            self.start,
            self.first_record,
        )

    def row(self, place: int) -> list[Value]:
        return [cells[place] for cells in self.columns.values()]


def table_of(columns: dict[str, list[Value]], start: int = 0) -> Table:
    rows = len(next(iter(columns.values()), []))
    return Table(columns, [False] * rows, [False] * rows, list(range(start, start + rows)), start)


def concatenate(parts: Sequence[Table]) -> Table:
    """Tables of the same columns, one after the other."""
    first = parts[0]
    if len(parts) == 1:
        return first
    return Table(
        {name: [cell for part in parts for cell in part.columns[name]] for name in first.columns},
        [mark for part in parts for mark in part.starred],
        [mark for part in parts for mark in part.flagged],
        [number for part in parts for number in part.origin],
        first.start,
    )


def records(table: Table) -> list[range]:
    """The records of a table: a row whose first cell is blank belongs to the record above, if it holds data at all."""
    keys = next(iter(table.columns.values()), [])
    others = list(table.columns.values())[1:]
    starts = []
    keyed = False
    for n in range(table.rows):
        if is_data(keys[n]):
            keyed = True
            starts.append(n)
        elif not keyed or not any(is_data(cells[n]) for cells in others):
            starts.append(n)
    return [range(a, b) for a, b in pairwise([*starts, table.rows])]


def whole_records(tables: Iterator[Table]) -> Iterator[Table]:
    """The same rows in parts that cut no record: what may go on in the next part waits for it."""
    held: list[Table] = []
    for table in tables:
        keys = next(iter(table.columns.values()), [])
        cut = next((n for n in reversed(range(table.rows)) if is_data(keys[n])), None)
        if cut is None:
            if held and table.rows:
                held.append(table)
            else:  # before the first key each row is a record
                yield table
            continue
        yield concatenate([*held, table.take(range(cut))])
        held = [table.take(range(cut, table.rows))]
    if held:
        yield concatenate(held)


def together(rows: Iterator[Row], part: int, size: Callable[[Row], int], most: int = PART_BYTES) -> Iterator[list[Row]]:
    """Lists of at most `part` rows and about `most` bytes; an empty one where there are no rows."""
    found: list[Row] = []
    held, first = 0, True
    for row in rows:
        found.append(row)
        held += size(row)
        if len(found) >= part or held >= most:
            yield found
            found, held, first = [], 0, False
    if found or first:
        yield found


class Bound:
    """The bindings of the rows of a table, made once and moved from row to row."""

    def __init__(self, table: Table, column: str | None) -> None:
        self.table, self.column = table, column
        self.cells = table.columns.get(column) if column else None
        self._records: list[range] | None = None

    def at(self, place: int, value: Value = None) -> dict[str, Value]:
        row = RowView(self, place)
        shown = value if value is not None or self.cells is None else self.cells[place]
        return {
            "value": shown,
            "cell": None if self.cells is None or shown is None else CellView(shown),
            "cells": CellsView(self, place),
            "row": row,
            "rowIndex": self.table.start + place,
            "columnName": self.column,
            "record": RecordView(self, place),
        }

    def record(self, place: int) -> tuple[int, range]:
        if self._records is None:
            self._records = records(self.table)
            self._number = [n for n, record in enumerate(self._records) for _ in record]
        number = self._number[place]
        return number, self._records[number]


class CellView:
    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        self.value = value

    def field(self, name: str) -> Value:
        if name == "value":
            return self.value
        if name == "errorMessage":
            return self.value.message if isinstance(self.value, EvalError) else None
        if name == "recon":
            return None
        return EvalError(f"a cell has no field {name}")


class CellsView:
    __slots__ = ("bound", "place")

    def __init__(self, bound: Bound, place: int) -> None:
        self.bound, self.place = bound, place

    def field(self, name: str) -> Value:
        cells = self.bound.table.columns.get(name)
        return None if cells is None or cells[self.place] is None else CellView(cells[self.place])

    def has_field(self, name: str) -> bool:
        return name in self.bound.table.columns


class RecordCells(CellsView):
    def field(self, name: str) -> Value:
        cells = self.bound.table.columns.get(name)
        _, rows = self.bound.record(self.place)
        return None if cells is None else [CellView(cells[n]) for n in rows if is_data(cells[n])]


class RowView:
    __slots__ = ("bound", "place")

    def __init__(self, bound: Bound, place: int) -> None:
        self.bound, self.place = bound, place

    def field(self, name: str) -> Value:
        table = self.bound.table
        found: dict[str, Any] = {
            "index": lambda: table.start + self.place,
            "starred": lambda: table.starred[self.place],
            "flagged": lambda: table.flagged[self.place],
            "cells": lambda: CellsView(self.bound, self.place),
            "columnNames": lambda: table.names,
            "record": lambda: RecordView(self.bound, self.place),
        }
        return found[name]() if name in found else EvalError(f"a row has no field {name}")


class RecordView:
    __slots__ = ("bound", "place")

    def __init__(self, bound: Bound, place: int) -> None:
        self.bound, self.place = bound, place

    def field(self, name: str) -> Value:
        number, rows = self.bound.record(self.place)
        found: dict[str, Any] = {
            "index": self.bound.table.first_record + number,
            "cells": RecordCells(self.bound, self.place),
            "fromRowIndex": self.bound.table.start + rows.start,
            "toRowIndex": self.bound.table.start + rows.stop,
            "rowCount": len(rows),
        }
        return found[name] if name in found else EvalError(f"a record has no field {name}")


def texts(table: Table) -> Iterator[list[str]]:
    """The rows as they are written to a text file."""
    columns = [
        [cell if isinstance(cell, str) else "" if cell is None else text_of(cell) for cell in cells]
        for cells in table.columns.values()
    ]
    return (list(row) for row in zip(*columns, strict=True))
