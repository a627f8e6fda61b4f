"""What an operation is to the replay, and the registry that the modules of operations fill."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import regex

from llm_assets.data.openrefine.evaluate import Expression, compile_expression
from llm_assets.data.openrefine.facets import Engine
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.java import Pattern, java_regex
from llm_assets.data.openrefine.row import Row, in_parts, opened, rows_of
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.values import NotSupported
from llm_assets.errors import UserError

Run = Callable[[Table], tuple[Table, int]]  # (the new table, cells or rows it changed)
Through = Callable[[Iterator[Table], Path | None], Iterator[tuple[Table, int]]]
Needs = Literal["rows", "records"]
Made = Iterator[tuple[Row, int]]  # rows, and what each counts as changed


@dataclass(frozen=True)
class Prepared:
    """An operation with its fields. What it remembers from part to part of a table lies in it.

    run: is given the table in consecutive parts, in order. needs: what no part may cut. survey: is given all parts
    before `run` gets the first. through: works on all parts, instead of `run`, which wait in the folder given, by
    default TMPDIR. needs_place: what becomes of a row may rest on its number.
    """

    run: Run | None
    needs: Needs
    survey: Callable[[Table], None] | None = None
    through: Through | None = None
    needs_place: bool = False


Prepare = Callable[[Fields], Prepared]
OPERATIONS: dict[str, Prepare] = {}
# What would have to be fetched, or asked of a service or another project.
REFUSED = {
    "column-addition-by-fetching-urls": "it fetches URLs",
    "extend-reconciled-data": "it asks a reconciliation service",
    "recon": "it asks a reconciliation service",
}


def operation(name: str) -> Callable[[Prepare], Prepare]:
    def register(prepare: Prepare) -> Prepare:
        OPERATIONS[name] = prepare
        return prepare

    return register


def selecting(
    run: Run, engine: Engine, *expressions: Expression, survey: Callable[[Table], None] | None = None
) -> Prepared:
    """An operation on the rows that `engine` selects, by these expressions."""
    read = [*expressions, *(facet.expression for facet in engine.facets)]
    by_record = engine.by_record or any(expression.needs_records for expression in read)
    needs_place = any(expression.needs_place for expression in read)
    return Prepared(run, "records" if by_record else "rows", survey, needs_place=needs_place)


def row_by_row(make: Callable[[Table, Iterator[Row]], tuple[list[str], Made]]) -> Prepared:
    """An operation that makes other rows. make: is given a table of no rows, which says what the columns are, and all
    rows, of which few are in memory; it returns the names of the new columns, and the new rows."""

    def through(tables: Iterator[Table], _: Path | None) -> Iterator[tuple[Table, int]]:
        found = opened(tables)
        if found is not None:
            head, parts = found
            yield from in_parts(*make(head, (row for table in parts for row in rows_of(table))))

    return Prepared(None, "rows", through=through)


def expression_of(fields: Fields, name: str = "expression") -> Expression:
    try:
        return compile_expression(fields.text(name))
    except UserError as error:
        raise fields.error(str(error)) from None


def pattern_of(fields: Fields, text: str) -> Pattern:
    try:
        return java_regex(text)
    except (NotSupported, regex.error) as error:
        raise fields.error(f"the separator: {error}") from None
