"""Operations on rows: remove, keep, star, flag, add, reorder, remove duplicates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from llm_assets.data.openrefine.cell_operations import streams
from llm_assets.data.openrefine.facets import engine_of
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import Prepared, operation
from llm_assets.data.openrefine.table import Table, concatenate, from_rows, records
from llm_assets.data.openrefine.value_functions import truth
from llm_assets.data.openrefine.values import EvalError, Value, collation_key, is_data, is_number, text_of
from llm_assets.errors import UserError


@operation("row-removal")
def removal(fields: Fields) -> Prepared:
    engine = engine_of(fields)

    def run(table: Table) -> tuple[Table, int]:
        gone = set(engine.selected(table))
        return table.take([n for n in range(table.rows) if n not in gone]), len(gone)

    return Prepared(run, streams(engine))


@operation("row-keep-matched")
def keep_matched(fields: Fields) -> Prepared:
    engine = engine_of(fields)

    def run(table: Table) -> tuple[Table, int]:
        kept = engine.selected(table)
        return table.take(kept), table.rows - len(kept)

    return Prepared(run, streams(engine))


@operation("row-star")
def star(fields: Fields) -> Prepared:
    return _mark(fields, "starred")


@operation("row-flag")
def flag(fields: Fields) -> Prepared:
    return _mark(fields, "flagged")


def _mark(fields: Fields, which: str) -> Prepared:
    engine, mark = engine_of(fields), fields.flag(which, True)

    def run(table: Table) -> tuple[Table, int]:
        marks = list(getattr(table, which))
        places = engine.selected(table)
        changed = sum(marks[place] != mark for place in places)
        for place in places:
            marks[place] = mark
        return (replace(table, starred=marks) if which == "starred" else replace(table, flagged=marks)), changed

    return Prepared(run, streams(engine))


@operation("row-duplicate-removal")
def duplicate_removal(fields: Fields) -> Prepared:
    """The first row of each combination of the criteria stays."""
    criteria = fields.texts("criteria")
    seen: set[tuple[str, ...]] = set()

    def run(table: Table) -> tuple[Table, int]:
        columns = [table.column(name) for name in criteria]
        kept = []
        for place in range(table.rows):
            key = tuple(text_of(cells[place]) for cells in columns)
            if key not in seen:
                seen.add(key)
                kept.append(place)
        return table.take(kept), table.rows - len(kept)

    return Prepared(run, streams=True)


@operation("row-addition")
def addition(fields: Fields) -> Prepared:
    added, index = fields.sections("addedRows"), fields.whole("insertionIndex", 0)
    for row in added:
        if any(cell for cell in row.raw("cells", [])):
            raise row.error("rows that already hold cells are not supported")

    def run(table: Table) -> tuple[Table, int]:
        if not 0 <= index <= table.rows:
            raise UserError(f"rows cannot be inserted at {index} of {table.rows}")
        blank = from_rows(table.names, [[None] * len(table.names) for _ in added], table, [None] * len(added))
        parts = [table.take(range(index)), blank, table.take(range(index, table.rows))]
        return concatenate(parts), len(added)

    return Prepared(run, streams=False)


@operation("row-reorder")
def reorder(fields: Fields) -> Prepared:
    mode = fields.choice("mode", ("row-based", "record-based"), "row-based")
    sorting = fields.section("sorting") if fields.has("sorting") else None
    criteria = [_criterion(item) for item in sorting.sections("criteria")] if sorting else []

    def run(table: Table) -> tuple[Table, int]:
        groups = records(table) if mode == "record-based" else [range(n, n + 1) for n in range(table.rows)]
        for column, key in reversed(criteria):  # stable sorts, the weakest criterion first
            cells = table.column(column)
            order = key([[cells[n] for n in group] for group in groups])
            groups = [groups[n] for n in order]
        places = [n for group in groups for n in group]
        return table.take(places), sum(place != n for n, place in enumerate(places))

    return Prepared(run, streams=False)


Order = Callable[[list[list[Value]]], list[int]]


def _criterion(item: Fields) -> tuple[str, Order]:
    """(column, how its groups of cells are ordered): the place of blanks and errors is relative to values at 0."""
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

    def order(groups: list[list[Value]]) -> list[int]:
        ranked: dict[int, list[tuple[Any, int]]] = {0: [], blank: [], error: []}  # by place
        for n, cells in enumerate(groups):
            keys = [found for cell in cells if is_data(cell) and (found := key(cell)) is not None]
            if keys:
                ranked[0].append((max(keys) if backward else min(keys), n))
            else:
                broken = any(isinstance(cell, EvalError) or is_data(cell) for cell in cells)
                ranked[error if broken else blank].append((None, n))
        values = sorted(ranked[0], key=lambda pair: pair[0], reverse=backward)
        return [n for rank in sorted(ranked) for _, n in (values if rank == 0 else ranked[rank])]

    return item.text("column"), order
