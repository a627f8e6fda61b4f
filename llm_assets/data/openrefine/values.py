"""The values of cells and expressions, and their text as Java writes it.

A cell holds `str`, `int` (Java's Long), `float` (Double), `bool`, an aware `datetime`, None (blank) or an `EvalError`.
Expressions also know lists, JSON objects (`dict`) and compiled regular expressions.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class EvalError:
    """What an expression that fails evaluates to; a cell may keep it (`onError: store-error`)."""

    message: str


class NotSupported(Exception):
    """Something a real OpenRefine does and this one cannot; it ends the replay by name and is never a cell's error."""


Value = Any
JAVA_SPACE = "".join(map(chr, range(33)))  # what Java's String.trim removes


def is_blank(value: Value) -> bool:
    return value is None or value == ""


def is_data(value: Value) -> bool:
    """Neither blank nor an error."""
    return not (value is None or (isinstance(value, str) and not value) or isinstance(value, EvalError))


def is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(left: Value, right: Value) -> bool:
    """Java's equals: 1 and 1.0 differ, as do 1 and true."""
    return type(left) is type(right) and bool(left == right)


def storable(value: Value) -> Value:
    """What a cell keeps of an expression's value: lists and the like become errors, JSON becomes its text."""
    if isinstance(value, str):
        return characters(value)
    if value is None or isinstance(value, int | float | datetime | EvalError):
        return value
    if isinstance(value, dict):
        return json_text(value)
    return EvalError(f"{type(value).__name__} value not storable")


def text_of(value: Value) -> str:
    """The text of a value in a cell, a file or a concatenation."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return double_text(value)
    if isinstance(value, datetime):
        return date_text(value)
    if isinstance(value, EvalError):
        return value.message
    if isinstance(value, list):
        return "[" + ", ".join("null" if item is None else text_of(item) for item in value) + "]"
    if isinstance(value, dict):
        return json_text(value)
    return str(getattr(value, "pattern", value))


def json_text(value: Value) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=text_of)


def double_text(value: float) -> str:
    """Java's Double.toString."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    sign, digits, exponent = Decimal(repr(value)).as_tuple()
    figures = "".join(map(str, digits)).rstrip("0") or "0"
    point = len(digits) + int(exponent)  # value = 0.figures x 10^point
    minus = "-" if sign else ""
    if 1e-3 <= abs(value) < 1e7:
        if point <= 0:
            return f"{minus}0.{'0' * -point}{figures}"
        whole = figures[:point].ljust(point, "0")
        return f"{minus}{whole}.{figures[point:] or '0'}"
    return f"{minus}{figures[0]}.{figures[1:] or '0'}E{point - 1}"


def date_text(value: datetime) -> str:
    """ISO 8601 with seconds, `Z` for UTC; a fraction only where there is one."""
    text = value.isoformat(timespec="milliseconds" if value.microsecond else "seconds")
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def combination(cells: Iterable[Value]) -> bytes:
    """128 bits of a hash of the texts of some cells, each by itself."""
    texts = "\0".join(f"{len(text)} {text}" for text in map(text_of, cells))
    return hashlib.blake2b(texts.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def units(text: str) -> str:
    """The text with each character beyond U+FFFF as its two surrogates: Java counts those."""
    if text.isascii() or max(text) <= "\uffff":
        return text
    data = text.encode("utf-16-le", "surrogatepass")
    return "".join(chr(data[n] | data[n + 1] << 8) for n in range(0, len(data), 2))


def is_whole(text: str) -> bool:
    """Whether UTF-8 can hold it: there is no surrogate in it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def characters(text: str) -> str:
    """The other way round, as where two halves meet again; what is left of a cut pair stays a lone surrogate."""
    if is_whole(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
