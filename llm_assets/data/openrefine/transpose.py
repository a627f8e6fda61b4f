"""Operations that transpose: cells of columns become rows, cells of rows columns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count as numbers_from
from itertools import islice

from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import Made, Prepared, operation, row_by_row
from llm_assets.data.openrefine.row import Row
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.values import Value, text_of
from llm_assets.errors import UserError


@operation("transpose-columns-into-rows")
def columns_into_rows(fields: Fields) -> Prepared:
    start, count = fields.text("startColumnName"), fields.whole("columnCount")
    combined = fields.text("combinedColumnName", "")
    key, value = ("", "") if combined else (fields.text("keyColumnName"), fields.text("valueColumnName"))
    prepend, separator = fields.flag("prependColumnName"), fields.text("separator", "")
    ignore, fill = fields.flag("ignoreBlankCells", True), fields.flag("fillDown")

    def cells_of(name: str, cell: Value) -> list[Value] | None:
        """What a cell becomes in a row of its own; None: nothing."""
        if combined and prepend:
            return None if cell is None and ignore else [name + separator + text_of(cell)]
        if combined:
            return None if cell is None else [cell]
        return None if cell is None and ignore else [name, cell]

    def make(head: Table, rows: Iterator[Row]) -> tuple[list[str], Made]:
        head.column(start)
        names = head.names
        first = names.index(start)
        end = len(names) if count < 0 else min(first + count, len(names))
        new = [*names[:first], *([combined] if combined else [key, value]), *names[end:]]
        if len(set(new)) != len(new):
            raise UserError(f"the columns would not have names of their own: {', '.join(new)}")
        blank: list[Value] = [None] * (1 if combined else 2)

        def made() -> Made:
            for row in rows:
                old = row.cells
                parts = [found for n in range(first, end) if (found := cells_of(names[n], old[n])) is not None]
                for n, part in enumerate(parts or [blank]):
                    own = n == 0 or fill
                    before = old[:first] if own else [None] * first
                    after = old[end:] if own else [None] * (len(old) - end)
                    cells = [*before, *part, *after]
                    yield (row._replace(cells=cells) if n == 0 else Row(cells)), 1

        return new, made()

    return row_by_row(make)


@operation("transpose-rows-into-columns")
def rows_into_columns(fields: Fields) -> Prepared:
    column, count = fields.text("columnName"), fields.whole("rowCount")
    if count < 1:
        raise fields.error(f"rowCount must be at least 1, it is {count}")

    def make(head: Table, rows: Iterator[Row]) -> tuple[list[str], Made]:
        head.column(column)
        names = head.names
        at = names.index(column)
        free = (name for number in numbers_from(1) if (name := f"{column} {number}") not in head.columns)

        def made() -> Made:
            while group := list(islice(rows, count)):
                moved = [row.cells[at] for row in group] + [None] * (count - len(group))
                for n, row in enumerate(group):
                    before, after = row.cells[:at], row.cells[at + 1 :]
                    if n == 0 or any(cell is not None for cell in (*before, *after)):
                        cells = [*before, *(moved if n == 0 else [None] * count), *after]
                        yield row._replace(cells=cells), 0 if n else len(group)

        return [*names[:at], *islice(free, count), *names[at + 1 :]], made()

    return row_by_row(make)
