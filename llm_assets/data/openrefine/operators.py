"""The operators of GREL, with Java's arithmetic."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import Any

from llm_assets.data.openrefine.collation import collation_key
from llm_assets.data.openrefine.values import EvalError, Value, characters, is_number, text_of


def operator_of(operator: str) -> Callable[[Value, Value], Value]:
    """A function of the values on its left and right."""

    def operate(left: Value, right: Value) -> Value:
        if isinstance(left, EvalError):
            return left
        if isinstance(right, EvalError):
            return right
        if left is None or right is None:
            return _equality(operator, left is right)
        if is_number(left) and is_number(right):
            return _arithmetic(operator, left, right)
        if isinstance(left, str) and isinstance(right, str) and operator != "+":
            if operator in ("==", "!="):
                return _equality(operator, _canonical(left) == _canonical(right))
            return _order(operator, collation_key(left), collation_key(right))
        if (isinstance(left, str) or isinstance(right, str)) and operator == "+":
            return characters(text_of(left) + text_of(right))
        if type(left) is type(right) and isinstance(left, bool | datetime):
            return _order(operator, left, right)
        return _equality(operator, type(left) is type(right) and left == right)

    return operate


def _canonical(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFD", text)


def _equality(operator: str, equal: bool) -> Value:
    return {"==": equal, "!=": not equal}.get(operator)


def _order(operator: str, left: Any, right: Any) -> Value:
    if operator in (">", ">=", "<", "<="):
        return {">": left > right, ">=": left >= right, "<": left < right, "<=": left <= right}[operator]
    return _equality(operator, left == right)


def _arithmetic(operator: str, left: Any, right: Any) -> Value:
    integral = isinstance(left, int) and isinstance(right, int)
    if operator in ("/", "%") and right == 0:
        if integral and operator == "%":
            return EvalError("/ by zero")
        if operator == "%" or left == 0 or left != left:
            return math.nan
        return math.copysign(math.inf, left) * (1 if integral else math.copysign(1, right))
    if operator in ("+", "-", "*"):
        found = left + right if operator == "+" else left - right if operator == "-" else left * right
        return (found + 2**63) % 2**64 - 2**63 if integral else found  # Java's Long wraps around
    if operator == "/":  # towards zero between whole numbers
        return abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1) if integral else left / right
    if operator == "%":
        return int(math.fmod(left, right)) if integral and abs(left) < 2**53 else math.fmod(left, right)
    return _order(operator, left, right)
