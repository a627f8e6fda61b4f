"""Operations on columns: add, rename, remove, move, reorder, split."""

from __future__ import annotations

from llm_assets.data.openrefine.cell_operations import ON_ERROR
from llm_assets.data.openrefine.facets import engine_of, evaluate_column
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.java import guessed, java_split
from llm_assets.data.openrefine.operation import Prepared, expression_of, operation, pattern_of, selecting
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.text_functions import split_lengths, split_whole
from llm_assets.data.openrefine.values import EvalError, Value, is_data, storable, text_of
from llm_assets.errors import UserError


def _absent(table: Table, name: str) -> None:
    if name in table.columns:
        raise UserError(f"there is already a column {name!r}")


def _ordered(table: Table, names: list[str]) -> Table:
    return table.with_columns({name: table.column(name) for name in names})


@operation("column-addition")
def addition(fields: Fields) -> Prepared:
    engine, expression = engine_of(fields), expression_of(fields)
    base, new, index = fields.text("baseColumnName"), fields.text("newColumnName"), fields.whole("columnInsertIndex")
    on_error = fields.choice("onError", ON_ERROR, "set-to-blank")

    def run(table: Table) -> tuple[Table, int]:
        _absent(table, new)
        cells: list[Value] = [None] * table.rows
        base_cells, places = table.column(base), engine.selected(table)
        for place, raw in zip(places, evaluate_column(expression, table, base, places), strict=True):
            value = storable(raw)
            if isinstance(value, EvalError) and on_error != "store-error":
                value = base_cells[place] if on_error == "keep-original" else None
            cells[place] = value
        names = table.names
        names.insert(index, new)
        return _ordered(table.with_column(new, cells), names), sum(cell is not None for cell in cells)

    return selecting(run, engine, expression)


@operation("column-rename")
def rename(fields: Fields) -> Prepared:
    old, new = fields.text("oldColumnName"), fields.text("newColumnName")

    def run(table: Table) -> tuple[Table, int]:
        table.column(old)
        if new != old:
            _absent(table, new)
        return table.with_columns({new if name == old else name: cells for name, cells in table.columns.items()}), 0

    return Prepared(run, needs="rows")


def _removal(names: list[str]) -> Prepared:
    def run(table: Table) -> tuple[Table, int]:
        for name in names:
            table.column(name)
        return _ordered(table, [name for name in table.names if name not in names]), 0

    return Prepared(run, needs="rows")


@operation("column-removal")
def removal(fields: Fields) -> Prepared:
    return _removal([fields.text("columnName")])


@operation("column-multi-removal")
def multi_removal(fields: Fields) -> Prepared:
    return _removal(fields.texts("columnNames"))


def _move(column: str, to: int | None, by: int = 0) -> Prepared:
    """To a place (negative: from the end), or by some places."""

    def run(table: Table) -> tuple[Table, int]:
        table.column(column)
        names = table.names
        place = names.index(column) + by if to is None else to if to >= 0 else len(names) + to
        if not 0 <= place < len(names):
            raise UserError(f"the column {column!r} cannot move to place {place} of {len(names)}")
        names.remove(column)
        names.insert(place, column)
        return _ordered(table, names), 0

    return Prepared(run, needs="rows")


@operation("column-move")
def move(fields: Fields) -> Prepared:
    return _move(fields.text("columnName"), fields.whole("index"))


@operation("column-move-first")
def move_first(fields: Fields) -> Prepared:
    return _move(fields.text("columnName"), 0)


@operation("column-move-last")
def move_last(fields: Fields) -> Prepared:
    return _move(fields.text("columnName"), -1)


@operation("column-move-left")
def move_left(fields: Fields) -> Prepared:
    return _move(fields.text("columnName"), None, -1)


@operation("column-move-right")
def move_right(fields: Fields) -> Prepared:
    return _move(fields.text("columnName"), None, 1)


@operation("column-reorder")
def reorder(fields: Fields) -> Prepared:
    """Columns that are not named are removed."""
    names = fields.texts("columnNames")
    return Prepared(lambda table: (_ordered(table, names), 0), needs="rows")


@operation("column-split")
def split(fields: Fields) -> Prepared:
    engine, column = engine_of(fields), fields.text("columnName")
    guess, remove = fields.flag("guessCellType"), fields.flag("removeOriginalColumn")
    mode = fields.choice("mode", ("separator", "lengths"))
    lengths = fields.wholes("fieldLengths") if mode == "lengths" else []
    separator = fields.text("separator") if mode == "separator" else ""
    limit = fields.whole("maxColumns", 0) if mode == "separator" else 0
    pattern = pattern_of(fields, separator) if mode == "separator" and fields.flag("regex") else None

    def pieces_of(text: str) -> list[Value]:
        if mode == "lengths":
            pieces = split_lengths(text, lengths)
        else:
            pieces = java_split(pattern, text, limit) if pattern is not None else split_whole(text, separator, limit)
        return [guessed(piece) for piece in pieces] if guess else list(pieces)

    def tuples_of(table: Table) -> dict[int, list[Value]]:
        cells = table.column(column)
        return {n: pieces_of(text_of(cells[n])) for n in engine.selected(table) if is_data(cells[n])}

    most = {"pieces": 0}  # of a cell, which are as many columns

    def survey(table: Table) -> None:
        most["pieces"] = max(most["pieces"], *map(len, tuples_of(table).values()), 0)

    def run(table: Table) -> tuple[Table, int]:
        cells, tuples = table.column(column), tuples_of(table)
        new: list[str] = []
        number = 1
        while len(new) < most["pieces"]:
            if f"{column} {number}" not in table.columns:
                new.append(f"{column} {number}")
            number += 1
        made = {
            name: [tuples[n][place] if n in tuples and place < len(tuples[n]) else None for n in range(table.rows)]
            for place, name in enumerate(new)
        }
        if remove:
            cells = [None if n in tuples else cell for n, cell in enumerate(cells)]
        columns: dict[str, list[Value]] = {}
        for name, old in table.columns.items():
            if name != column:
                columns[name] = old
                continue
            if not remove:
                columns[name] = cells
            columns |= made
        return table.with_columns(columns), len(tuples)

    return selecting(run, engine, survey=survey)
