"""Which rows an operation works on: the facets and the mode of its `engineConfig`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import regex

from llm_assets.data.openrefine.evaluate import Expression, compile_expression
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.java import java_regex
from llm_assets.data.openrefine.table import Bound, Table, records
from llm_assets.data.openrefine.values import EvalError, NotSupported, Value, is_data, is_number, text_of
from llm_assets.errors import UserError

Check = Callable[[Value], bool]


@dataclass(frozen=True)
class Facet:
    """A condition on a row: `check` of the value of `expression` in `column`."""

    column: str
    expression: Expression
    check: Check
    inverted: bool = False


@dataclass(frozen=True)
class Engine:
    """No facets select every row. by_record: a record is selected whole."""

    facets: tuple[Facet, ...] = ()
    by_record: bool = False

    def selected(self, table: Table) -> list[int]:
        """Places of the rows the operation works on, ascending."""
        if not self.facets:
            return list(range(table.rows))
        marks = [_marks(facet, table) for facet in self.facets]
        if not self.by_record:
            return [n for n in range(table.rows) if all(mark[n] for mark in marks)]
        found: list[int] = []
        for record in records(table):
            if all(
                (all if facet.inverted else any)(mark[n] for n in record)
                for facet, mark in zip(self.facets, marks, strict=True)
            ):
                found += record
        return found


def _marks(facet: Facet, table: Table) -> list[bool]:
    evaluated = evaluate_column(facet.expression, table, facet.column or None)
    return [facet.check(value) for value in evaluated]


def evaluate_column(
    expression: Expression, table: Table, column: str | None, places: list[int] | None = None
) -> list[Value]:
    """The expression's values at `places` (all rows); one evaluation for equal cells where only `value` is read."""
    bound = Bound(table, column)
    if column is not None:
        table.column(column)
    where = range(table.rows) if places is None else places
    if not expression.value_only or bound.cells is None:
        return [expression.evaluate(bound.at(n)) for n in where]
    known: dict[tuple[type, Value], Value] = {}
    out = []
    for n in where:
        value = bound.cells[n]
        key = (type(value), value)
        if key not in known:
            known[key] = expression.evaluate({"value": value, "columnName": column})
        out.append(known[key])
    return out


def engine_of(operation: Fields) -> Engine:
    """The `engineConfig` of an operation. Raises UserError for a facet that is not supported, by its type."""
    if not operation.has("engineConfig"):
        return Engine()
    config = operation.section("engineConfig")
    mode = config.choice("mode", ("row-based", "record-based"), "row-based")
    facets = [_facet(item) for item in config.sections("facets")]
    return Engine(tuple(facet for facet in facets if facet is not None), mode == "record-based")


def _facet(config: Fields) -> Facet | None:
    """None for a facet in which nothing is selected: it selects everything."""
    kind = config.choice("type", ("list", "text", "range", "timerange"))
    if kind == "text":
        return _text_facet(config)
    column = config.text("columnName", "")
    try:
        expression = compile_expression(config.text("expression", "value"))
    except UserError as error:
        raise config.error(f"the facet {config.text('name', '')!r}: {error}") from None
    if kind == "list":
        return _list_facet(config, column, expression)
    return _range_facet(config, column, expression, time=kind == "timerange")


def _list_facet(config: Fields, column: str, expression: Expression) -> Facet | None:
    chosen = {text_of(_choice(item)) for item in config.sections("selection")}
    blank, error = config.flag("selectBlank"), config.flag("selectError")
    inverted = config.flag("invert")
    if not chosen and not blank and not error:
        return None

    def one(value: Value) -> bool:
        if isinstance(value, EvalError):
            return error
        return text_of(value) in chosen if is_data(value) else blank

    def check(value: Value) -> bool:
        found = any(one(item) for item in value) if isinstance(value, list) else one(value)
        return found != inverted

    return Facet(column, expression, check, inverted)


def _choice(item: Fields) -> Value:
    value = item.section("v").raw("v")
    if isinstance(value, str | int | float | bool):
        return value
    raise item.error(f"the choice {value!r} of a list facet is not supported")


def _text_facet(config: Fields) -> Facet | None:
    query = config.text("query", "")
    sensitive, inverted = config.flag("caseSensitive"), config.flag("invert")
    if not query:
        return None
    expression = compile_expression("value")
    if config.choice("mode", ("text", "regex"), "text") == "regex":
        try:
            pattern = java_regex(query, not sensitive)
        except (NotSupported, regex.error) as error:
            raise config.error(f"the text facet's query: {error}") from None
        found: Callable[[str], bool] = lambda text: pattern.search(text) is not None  # noqa: E731
    else:
        wanted = query if sensitive else query.lower()
        found = lambda text: wanted in (text if sensitive else text.lower())  # noqa: E731

    def check(value: Value) -> bool:
        return (is_data(value) and found(text_of(value))) != inverted

    return Facet(config.text("columnName"), expression, check, inverted)


def _range_facet(config: Fields, column: str, expression: Expression, time: bool) -> Facet | None:
    low, high = config.number("from", None), config.number("to", None)
    typed = config.flag("selectTime" if time else "selectNumeric", True)
    other = config.flag("selectNonTime" if time else "selectNonNumeric", True)
    blank, error = config.flag("selectBlank", True), config.flag("selectError", True)
    if low is None and high is None and typed and other and blank and error:
        return None
    least, most = low or 0, high or 0
    bounded = low is not None or high is not None

    def one(value: Value) -> bool:
        if isinstance(value, EvalError):
            return error
        if not is_data(value):
            return blank
        if time:
            if not isinstance(value, datetime):
                return other
            return typed and (not bounded or least <= value.timestamp() * 1000 <= most)
        if not is_number(value):
            return other
        if value != value or abs(value) == float("inf"):
            return error
        return typed and (not bounded or least <= value < most)

    def check(value: Value) -> bool:
        return any(one(item) for item in value) if isinstance(value, list) else one(value)

    return Facet(column, expression, check)
