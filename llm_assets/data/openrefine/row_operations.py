"""Operations on rows: remove, keep, star, flag, add, remove duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from llm_assets.data.openrefine.facets import engine_of
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import Prepared, operation, selecting
from llm_assets.data.openrefine.row import Row, table_of_rows
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.values import combination
from llm_assets.errors import UserError


@operation("row-removal")
def removal(fields: Fields) -> Prepared:
    engine = engine_of(fields)

    def run(table: Table) -> tuple[Table, int]:
        gone = set(engine.selected(table))
        return table.take([n for n in range(table.rows) if n not in gone]), len(gone)

    return selecting(run, engine)


@operation("row-keep-matched")
def keep_matched(fields: Fields) -> Prepared:
    engine = engine_of(fields)

    def run(table: Table) -> tuple[Table, int]:
        kept = engine.selected(table)
        return table.take(kept), table.rows - len(kept)

    return selecting(run, engine)


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

    return selecting(run, engine)


@operation("row-duplicate-removal")
def duplicate_removal(fields: Fields) -> Prepared:
    """The first row of each combination of the criteria stays."""
    criteria = fields.texts("criteria")
    seen: set[bytes] = set()

    def run(table: Table) -> tuple[Table, int]:
        columns = [table.column(name) for name in criteria]
        kept = []
        for place in range(table.rows):
            key = combination(cells[place] for cells in columns)
            if key not in seen:
                seen.add(key)
                kept.append(place)
        return table.take(kept), table.rows - len(kept)

    return Prepared(run, needs="rows")


@operation("row-addition")
def addition(fields: Fields) -> Prepared:
    added, index = fields.sections("addedRows"), fields.whole("insertionIndex", 0)
    for row in added:
        if any(cell for cell in row.raw("cells", [])):
            raise row.error("rows that already hold cells are not supported")

    def through(tables: Iterator[Table], _: Path | None) -> Iterator[tuple[Table, int]]:
        done, missing = 0, True
        for table in tables:
            if missing and 0 <= index - done <= table.rows:
                missing = False
                blank = [Row([None] * len(table.columns)) for _ in added]
                yield table.take(range(index - done)), 0
                yield table_of_rows(table.names, blank), len(added)
                yield table.take(range(index - done, table.rows)), 0
            else:
                yield table, 0
            done += table.rows
        if missing:
            raise UserError(f"rows cannot be inserted at {index} of {done}")

    return Prepared(None, "rows", through=through)
