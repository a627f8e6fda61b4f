"""Operations on cells: transform, mass edit, fill down, blank down."""

from __future__ import annotations

from datetime import datetime

from llm_assets.data.openrefine.dates import parse_free
from llm_assets.data.openrefine.facets import engine_of, evaluate_column
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import Prepared, expression_of, operation, selecting
from llm_assets.data.openrefine.table import Bound, Table
from llm_assets.data.openrefine.values import EvalError, Value, is_data, same, storable, text_of

ON_ERROR = ("keep-original", "set-to-blank", "store-error")


@operation("text-transform")
def text_transform(fields: Fields) -> Prepared:
    engine, expression, column = engine_of(fields), expression_of(fields), fields.text("columnName")
    on_error = fields.choice("onError", ON_ERROR, "keep-original")
    turns = fields.whole("repeatCount", 10) if fields.flag("repeat") else 0

    def again(bound: Bound, place: int, value: Value) -> Value:
        for _ in range(turns):
            found = storable(expression.evaluate(bound.at(place, value)))
            if isinstance(found, EvalError) or same(found, value):
                break
            value = found
        return value

    def run(table: Table) -> tuple[Table, int]:
        cells, places = list(table.column(column)), engine.selected(table)
        found = evaluate_column(expression, table, column, places)
        bound, changed = Bound(table, column), 0
        for place, raw in zip(places, found, strict=True):
            value = storable(raw)
            if isinstance(value, EvalError) and on_error != "store-error":
                if on_error == "keep-original":
                    continue
                value = None
            if not same(value, cells[place]):
                cells[place] = again(bound, place, value) if turns and value is not None else value
                changed += 1
        return table.with_column(column, cells), changed

    return selecting(run, engine, expression)


@operation("mass-edit")
def mass_edit(fields: Fields) -> Prepared:
    engine, expression, column = engine_of(fields), expression_of(fields), fields.text("columnName")
    edits: dict[str, Value] = {}
    blank_to = error_to = None
    for edit in fields.sections("edits"):
        to = _edit_value(edit)
        edits |= dict.fromkeys(edit.texts("from") if edit.has("from") else [], to)
        blank_to = to if edit.flag("fromBlank") else blank_to
        error_to = to if edit.flag("fromError") else error_to

    def run(table: Table) -> tuple[Table, int]:
        cells, places = list(table.column(column)), engine.selected(table)
        changed = 0
        for place, value in zip(places, evaluate_column(expression, table, column, places), strict=True):
            to = edits.get(text_of(value)) if is_data(value) else blank_to
            if isinstance(value, EvalError):
                to = error_to
            if to is not None and not same(to, cells[place]):
                cells[place] = to
                changed += 1
        return table.with_column(column, cells), changed

    return selecting(run, engine, expression)


def _edit_value(edit: Fields) -> Value:
    to = edit.raw("to", "")
    if edit.text("type", "") == "date" or (isinstance(to, dict) and to.get("type") == "date"):
        found = parse_free(str(to.get("value") if isinstance(to, dict) else to))
        if isinstance(found, datetime):
            return found
    if isinstance(to, str | int | float | bool):
        return to
    raise edit.error(f"the value {to!r} is not supported as what cells become")


@operation("fill-down")
def fill_down(fields: Fields) -> Prepared:
    engine, column = engine_of(fields), fields.text("columnName")
    memory: dict[str, Value] = {"last": None}

    def run(table: Table) -> tuple[Table, int]:
        cells, changed = list(table.column(column)), 0
        keys = next(iter(table.columns.values()))
        for place in engine.selected(table):
            if engine.by_record and is_data(keys[place]):
                memory["last"] = None
            if is_data(cells[place]):
                memory["last"] = cells[place]
            elif memory["last"] is not None:
                cells[place] = memory["last"]
                changed += 1
        return table.with_column(column, cells), changed

    return selecting(run, engine)


@operation("blank-down")
def blank_down(fields: Fields) -> Prepared:
    engine, column = engine_of(fields), fields.text("columnName")
    memory: dict[str, Value] = {"last": None}

    def run(table: Table) -> tuple[Table, int]:
        cells, changed = list(table.column(column)), 0
        keys = list(next(iter(table.columns.values())))
        for place in engine.selected(table):
            if engine.by_record and is_data(keys[place]):
                memory["last"] = None
            value = cells[place]
            if not is_data(value):
                memory["last"] = None
                continue
            if memory["last"] is not None and same(value, memory["last"]):
                cells[place] = None
                changed += 1
            memory["last"] = value
        return table.with_column(column, cells), changed

    return selecting(run, engine)
