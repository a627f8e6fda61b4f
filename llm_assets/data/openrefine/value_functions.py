"""GREL's functions of lists, numbers, booleans, dates, JSON and types."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from llm_assets.data.openrefine import dates
from llm_assets.data.openrefine.java import java_format, parse_double, parse_long, whole
from llm_assets.data.openrefine.registry import function, wrong
from llm_assets.data.openrefine.values import (
    EvalError,
    Value,
    characters,
    is_number,
    json_text,
    same,
    text_of,
    units,
)


@function("type")
def _type(value: Value) -> Value:
    if value is None:
        return "undefined"
    if is_number(value):
        return "number"
    kinds = {str: "string", bool: "boolean", datetime: "date", list: "array", EvalError: "error"}
    return kinds.get(type(value), type(value).__name__.lower())


@function("coalesce", least=2, most=64)
def _coalesce(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


@function("toString", most=2)
def _to_string(value: Value, form: Value = None) -> Value:
    if form is None:
        return "null" if value is None else text_of(value)
    if isinstance(form, str) and isinstance(value, datetime):
        return dates.format_pattern(value, form)
    if isinstance(form, str) and is_number(value):
        return java_format(form, value)
    return wrong("toString", "an object and an optional date or number format")


@function("toNumber")
def _to_number(value: Value) -> Value:
    if is_number(value):
        return value
    text = text_of(value).strip()
    number = parse_long(text)
    if number is None:
        number = parse_double(text)  # type: ignore[assignment]
    return EvalError(f"Cannot parse to number: {text}") if number is None else number


@function("toDate", most=16)
def _to_date(value: Value, *formats: Value) -> Value:
    if isinstance(value, datetime):
        return value
    if isinstance(value, bool) or not isinstance(value, str | int):
        return EvalError("Unable to parse as date")
    text = str(value)
    if not formats or isinstance(formats[0], bool):
        return dates.parse_free(text, month_first=not formats or formats[0])
    for place, form in enumerate(formats):
        if not isinstance(form, str) or (place == 0 and form in ("en", "en_US", "en_GB")):
            continue
        found = dates.parse_pattern(text, form)
        if found is not None:
            return found
    return EvalError("Unable to parse as date")


@function("datePart", least=2)
def _date_part(value: Value, part: Value) -> Value:
    if not isinstance(value, datetime) or not isinstance(part, str):
        return wrong("datePart", "a date and a string")
    return dates.date_part(value, part)


@function("inc", least=3)
def _inc(value: Value, amount: Value, unit: Value) -> Value:
    if not isinstance(value, datetime) or whole(amount) is None or not isinstance(unit, str):
        return wrong("inc", "a date, a number and a string")
    return dates.step(value, int(amount), unit)


@function("diff", least=2, most=3)
def _diff(left: Value, right: Value, unit: Value = None) -> Value:
    if isinstance(left, datetime) and isinstance(right, datetime) and isinstance(unit, str):
        return dates.difference(left, right, unit)
    if isinstance(left, str) and isinstance(right, str):
        at = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
        return right[at:]
    return wrong("diff", "two strings, or two dates and a unit")


@function("length")
def _length(value: Value) -> Value:
    if isinstance(value, list):
        return len(value)
    return wrong("length", "an array or a string") if value is None else len(units(text_of(value)))


@function("get", least=2, most=3)
def _get(value: Value, start: Value, end: Value = None) -> Value:
    if value is None or start is None:
        return None
    if isinstance(start, str):
        getter = getattr(value, "field", None)
        return getter(start) if getter else value.get(start) if isinstance(value, dict) else None
    if whole(start) is None or (end is not None and whole(end) is None):
        return None
    if end is not None:
        return _part(value, int(start), int(end))
    items = value if isinstance(value, list) else units(text_of(value))
    at = max(0, int(start) + (len(items) if start < 0 else 0))
    if at >= len(items):
        return None if isinstance(items, list) else EvalError("get: the index is past the end of the string")
    return items[at] if isinstance(items, list) else characters(items[at])


@function("slice", "substring", least=2, most=3)
def _slice(value: Value, start: Value, end: Value = None) -> Value:
    if value is None or whole(start) is None or (end is not None and whole(end) is None):
        return wrong("slice", "a string or array, a number and an optional number")
    return _part(value, int(start), None if end is None else int(end))


def _part(value: Value, start: int, end: int | None) -> Value:
    items = value if isinstance(value, list) else units(text_of(value))
    size = len(items)
    end = size if end is None else end
    start = min(size, max(0, start + size if start < 0 else start))
    end = min(size, max(start, end + size if end < 0 else end))
    return items[start:end] if isinstance(items, list) else characters(items[start:end])


@function("hasField", least=2)
def _has_field(value: Value, name: Value) -> Value:
    if not isinstance(name, str):
        return wrong("hasField", "an object and a string")
    return name in value if isinstance(value, dict) else bool(getattr(value, "has_field", lambda _: False)(name))


@function("join", least=2)
def _join(value: Value, separator: Value) -> Value:
    if not isinstance(value, list) or not isinstance(separator, str):
        return wrong("join", "an array and a string")
    out = ""
    for item in value:  # as OpenRefine: no separator after nothing, so leading empty strings leave no trace
        if item is not None:
            out += (separator if out else "") + text_of(item)
    return out


@function("reverse")
def _reverse(value: Value) -> Value:
    if isinstance(value, str):
        return value[::-1]
    return value[::-1] if isinstance(value, list) else wrong("reverse", "an array or a string")


@function("sort")
def _sort(value: Value) -> Value:
    if not isinstance(value, list):
        return wrong("sort", "an array")
    try:
        return sorted((item for item in value if item is not None), key=_natural) + [None] * value.count(None)
    except TypeError:
        return wrong("sort", "an array of uniform type")


def _natural(item: Value) -> Any:
    return units(item) if isinstance(item, str) else item


@function("uniques")
def _uniques(value: Value) -> Value:
    """Kept in the order of their first appearance."""
    if not isinstance(value, list):
        return wrong("uniques", "an array")
    first: dict[tuple[type, str], Value] = {}
    for item in value:
        first.setdefault((type(item), text_of(item)), item)
    return list(first.values())


@function("inArray", least=2)
def _in_array(value: Value, item: Value) -> Value:
    return any(same(other, item) for other in value) if isinstance(value, list) else wrong("inArray", "an array")


@function("zip", least=2, most=16)
def _zip(*values: Value) -> Value:
    if not all(isinstance(value, list) for value in values):
        return wrong("zip", "two or more arrays")
    return [list(group) for group in zip(*values, strict=False)]


@function("range", most=3)
def _range(*numbers: Value) -> Value:
    bounds = [whole(number) for number in numbers]
    if None in bounds or (len(bounds) == 3 and bounds[2] == 0):
        return wrong("range", "one to three numbers, the step not zero")
    found = range(*(int(bound) for bound in bounds if bound is not None))
    return list(found) if len(found) <= 1_000_000 else EvalError("range: more than 1,000,000 numbers")


@function("parseJson")
def _parse_json(value: Value) -> Value:
    try:
        return wrong("parseJson", "a string") if value is None else json.loads(text_of(value))
    except (ValueError, RecursionError):
        return EvalError("parseJson: the string is not JSON")


@function("jsonize")
def _jsonize(value: Value) -> Value:
    return json_text(value)


@function("and", most=64)
def _and(*values: Value) -> Value:
    return all(truth(value) for value in values)


@function("or", most=64)
def _or(*values: Value) -> Value:
    return any(truth(value) for value in values)


@function("xor", least=2, most=64)
def _xor(*values: Value) -> Value:
    return sum(truth(value) for value in values) % 2 == 1


@function("not")
def _not(value: Value) -> Value:
    return not value if isinstance(value, bool) else wrong("not", "a boolean")


def truth(value: Value) -> bool:
    return value if isinstance(value, bool) else value is not None and text_of(value).lower() == "true"


def _numeric(name: str, call: Callable[..., Value], least: int = 1) -> None:
    """A function of numbers; a domain error is an error value."""

    def checked(*numbers: Value) -> Value:
        if not all(is_number(number) for number in numbers):
            return wrong(name, "a number" if least == 1 else f"{least} numbers")
        try:
            return call(*numbers)
        except (ValueError, OverflowError, ZeroDivisionError) as error:
            return EvalError(f"{name}: {error}")

    function(name, least=least)(checked)


def _power(base: float, exponent: float) -> float:
    return math.pow(base, exponent)


def _away(number: float, odd: int) -> float:
    """`even`, `odd`: the next such number away from zero."""
    up = math.ceil(abs(number))
    return math.copysign(float(up + (up % 2 != odd)), number)


_numeric("round", lambda number: math.floor(number + 0.5))
_numeric("floor", math.floor)
_numeric("ceil", math.ceil)
_numeric("abs", abs)
_numeric("even", lambda number: _away(number, 0))
_numeric("odd", lambda number: _away(number, 1))
_numeric("exp", lambda number: math.exp(number))
_numeric("ln", lambda number: math.log(number))
_numeric("log", lambda number: math.log10(number))
_numeric("pow", _power, 2)
_numeric("max", lambda left, right: max(left, right), 2)
_numeric("min", lambda left, right: min(left, right), 2)
_numeric(
    "mod",
    lambda left, right: math.fmod(left, right) if float in (type(left), type(right)) else int(math.fmod(left, right)),
    2,
)
_numeric("quotient", lambda left, right: int(left / right), 2)
_numeric("gcd", lambda left, right: float(math.gcd(int(left), int(right))), 2)
_numeric("lcm", lambda left, right: float(math.lcm(int(left), int(right))), 2)
_numeric("fact", lambda number: math.factorial(int(number)) if number <= 20 else wrong("fact", "a number up to 20"))


@function("sum")
def _sum(value: Value) -> Value:
    if not isinstance(value, list) or not all(is_number(item) for item in value):
        return wrong("sum", "an array of numbers")
    return sum(value)
