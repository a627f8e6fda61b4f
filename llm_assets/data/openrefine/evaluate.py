"""Evaluation of GREL: a syntax tree becomes one Python function of the bindings of a cell."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from llm_assets.data.openrefine import text_functions, value_functions  # noqa: F401  (they register themselves)
from llm_assets.data.openrefine.collation import collation_key
from llm_assets.data.openrefine.java import java_regex
from llm_assets.data.openrefine.parser import (
    Array,
    Call,
    Field,
    GrelError,
    Literal,
    Name,
    Node,
    Operation,
    Regex,
    parse,
    walk,
)
from llm_assets.data.openrefine.registry import FUNCTIONS, REFUSED, wrong
from llm_assets.data.openrefine.value_functions import truth
from llm_assets.data.openrefine.values import EvalError, Value, characters, is_blank, is_data, is_number, text_of

Bindings = dict[str, Value]
Evaluate = Callable[[Bindings], Value]
NAMES = ("value", "cell", "cells", "row", "rowIndex", "columnName", "true", "false", "PI", "record")


@dataclass(frozen=True)
class Expression:
    """evaluate: of the bindings. value_only: it reads nothing but `value`, so equal cells have equal results.
    needs_records: it reads `row.record`, so all of that must be there. needs_place: it may read the row's number."""

    source: str
    evaluate: Evaluate
    value_only: bool
    needs_records: bool
    needs_place: bool


def compile_expression(source: str) -> Expression:
    """Compile `source`, with or without the prefix `grel:`.

    Raises GrelError for text that is not GREL, functions and languages that are not supported, and unknown names.
    """
    prefix, colon, rest = source.partition(":")
    text = source
    if colon and prefix.strip().lower() in ("grel", "gel"):
        text = rest
    elif colon and prefix.strip().lower() in ("jython", "python", "clojure"):
        raise GrelError(f"expressions in {prefix.strip()} are not run, only GREL is: {source[:80]!r}")
    for name, reason in REFUSED.items():
        if f"{name}(" in text.replace(" ", "") and _calls(text, name):
            raise GrelError(f"GREL {text!r}: the function {name!r} is not supported: {reason}")
    tree = parse(text, FUNCTIONS, CONTROLS)
    evaluate = _compiled(tree)
    names = {node.name for node in walk(tree) if isinstance(node, Name)}
    bound = {name for node in walk(tree) if isinstance(node, Call) for name in _variables(node)}
    unknown = sorted(names - bound - set(NAMES))
    if unknown:
        raise GrelError(f"GREL {text!r}: the name {unknown[0]!r} is not known; there are {', '.join(NAMES)}")
    fields = {node.name for node in walk(tree) if isinstance(node, Field)}
    return Expression(
        source,
        evaluate,
        value_only=not names & {"cell", "cells", "row", "rowIndex", "record"},
        needs_records="record" in fields | names,
        needs_place=bool(names & {"row", "rowIndex", "record"}),
    )


def _calls(text: str, name: str) -> bool:
    try:
        parse(text, {*FUNCTIONS, *REFUSED}, CONTROLS)
    except GrelError:
        return False
    return any(
        isinstance(node, Call) and node.function == name for node in walk(parse(text, {*FUNCTIONS, *REFUSED}, CONTROLS))
    )


def _compiled(node: Node) -> Evaluate:
    if isinstance(node, Literal):
        constant = node.value
        return lambda bindings: constant
    if isinstance(node, Regex):
        pattern = java_regex(node.pattern, node.ignore_case)
        return lambda bindings: pattern
    if isinstance(node, Name):
        return _name(node.name)
    if isinstance(node, Field):
        return _field(_compiled(node.of), node.name)
    if isinstance(node, Array):
        items = [_compiled(item) for item in node.items]
        return lambda bindings: _first_error(values := [item(bindings) for item in items]) or values
    if isinstance(node, Operation):
        left, right, operate = _compiled(node.left), _compiled(node.right), _operator(node.operator)
        return lambda bindings: operate(left(bindings), right(bindings))
    if node.function in CONTROLS:
        return CONTROLS[node.function](node.arguments)
    called, arguments = FUNCTIONS[node.function], [_compiled(argument) for argument in node.arguments]

    def call(bindings: Bindings) -> Value:
        values = [argument(bindings) for argument in arguments]
        return _first_error(values) or called(values)

    return call


def _first_error(values: list[Value]) -> EvalError | None:
    return next((value for value in values if isinstance(value, EvalError)), None)


def _name(name: str) -> Evaluate:
    constants: dict[str, Value] = {"true": True, "false": False, "PI": math.pi}
    if name in constants:
        constant = constants[name]
        return lambda bindings: constant
    return lambda bindings: bindings.get(name)


def _field(of: Evaluate, name: str) -> Evaluate:
    def read(bindings: Bindings) -> Value:
        value = of(bindings)
        if isinstance(value, EvalError):
            return value
        if value is None:
            return EvalError("Cannot retrieve field from null")
        if isinstance(value, dict):
            return value.get(name)
        if isinstance(value, list):
            return [read_one(item) for item in value]
        return read_one(value)

    def read_one(value: Value) -> Value:
        getter = getattr(value, "field", None)
        if getter is not None:
            return getter(name)
        if isinstance(value, dict):
            return value.get(name)
        if isinstance(value, datetime):
            from llm_assets.data.openrefine.dates import date_part

            return date_part(value, name)
        return EvalError("Object does not have any field, including " + name)

    return read


def _operator(operator: str) -> Callable[[Value, Value], Value]:
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


# ---- controls: they evaluate their arguments themselves, some with a variable bound -------------------------------


def _variables(node: Call) -> list[str]:
    places = {"with": [1], "forEach": [1], "forNonBlank": [1], "filter": [1], "forEachIndex": [1, 2], "forRange": [3]}
    places["reduce"] = [1, 2]
    arguments = node.arguments
    found = [arguments[n] for n in places.get(node.function, []) if n < len(arguments)]
    return [item.name for item in found if isinstance(item, Name)]


def _arguments(name: str, arguments: tuple[Node, ...], count: int, variables: tuple[int, ...] = ()) -> None:
    if len(arguments) != count:
        raise GrelError(f"GREL: {name} expects {count} arguments, it has {len(arguments)}")
    for place in variables:
        if not isinstance(arguments[place], Name):
            raise GrelError(f"GREL: argument {place + 1} of {name} must be a variable's name")


def _if(arguments: tuple[Node, ...]) -> Evaluate:
    if len(arguments) not in (2, 3):
        raise GrelError(f"GREL: if expects 2 or 3 arguments, it has {len(arguments)}")
    test, yes = _compiled(arguments[0]), _compiled(arguments[1])
    no: Evaluate = _compiled(arguments[2]) if len(arguments) == 3 else lambda bindings: None

    def choose(bindings: Bindings) -> Value:
        found = test(bindings)
        if isinstance(found, EvalError):
            return found
        return yes(bindings) if truth(found) else no(bindings)

    return choose


def _with(arguments: tuple[Node, ...]) -> Evaluate:
    _arguments("with", arguments, 3, (1,))
    value, name, body = _compiled(arguments[0]), _variable(arguments[1]), _compiled(arguments[2])

    def bind(bindings: Bindings) -> Value:
        found = value(bindings)
        return found if isinstance(found, EvalError) else body({**bindings, name: found})

    return bind


def _each(name: str, indexed: bool, keep: bool) -> Callable[[tuple[Node, ...]], Evaluate]:
    def control(arguments: tuple[Node, ...]) -> Evaluate:
        _arguments(name, arguments, 4 if indexed else 3, (1, 2) if indexed else (1,))
        items, body = _compiled(arguments[0]), _compiled(arguments[-1])
        variable = _variable(arguments[-2])
        index = _variable(arguments[1]) if indexed else ""

        def loop(bindings: Bindings) -> Value:
            found = items(bindings)
            if isinstance(found, EvalError):
                return found
            if not isinstance(found, list | dict):
                return wrong(name, "an array as its first argument")
            scope, out = dict(bindings), []
            for n, item in enumerate(found.values() if isinstance(found, dict) else found):
                scope[variable] = item
                if indexed:
                    scope[index] = n
                result = body(scope)
                if not keep:
                    out.append(result)
                elif truth(result):
                    out.append(item)
            return out

        return loop

    return control


def _for_range(arguments: tuple[Node, ...]) -> Evaluate:
    _arguments("forRange", arguments, 5, (3,))
    bounds, name, body = [_compiled(item) for item in arguments[:3]], _variable(arguments[3]), _compiled(arguments[4])

    def loop(bindings: Bindings) -> Value:
        limits = [bound(bindings) for bound in bounds]
        if not all(is_number(limit) for limit in limits) or limits[2] == 0:
            return wrong("forRange", "numbers, the step not zero")
        start, end, step = limits
        count = math.ceil((end - start) / step)
        if count > 1_000_000:
            return EvalError("forRange: more than 1,000,000 turns")
        scope, out = dict(bindings), []
        for n in range(count):
            scope[name] = start + n * step
            out.append(body(scope))
        return out

    return loop


def _for_non_blank(arguments: tuple[Node, ...]) -> Evaluate:
    _arguments("forNonBlank", arguments, 4, (1,))
    value, name = _compiled(arguments[0]), _variable(arguments[1])
    yes, no = _compiled(arguments[2]), _compiled(arguments[3])

    def choose(bindings: Bindings) -> Value:
        found = value(bindings)
        return yes({**bindings, name: found}) if is_data(found) else no(bindings)

    return choose


def _reduce(arguments: tuple[Node, ...]) -> Evaluate:
    _arguments("reduce", arguments, 5, (1, 2))
    items, start, body = _compiled(arguments[0]), _compiled(arguments[3]), _compiled(arguments[4])
    item, total = _variable(arguments[1]), _variable(arguments[2])

    def loop(bindings: Bindings) -> Value:
        found = items(bindings)
        if not isinstance(found, list):
            return found if isinstance(found, EvalError) else wrong("reduce", "an array as its first argument")
        scope = {**bindings, total: start(bindings)}
        for element in found:
            scope[item] = element
            scope[total] = body(scope)
        return scope[total]

    return loop


def _variable(node: Node) -> str:
    return node.name if isinstance(node, Name) else ""


def _test(name: str, check: Callable[[Value], bool]) -> Callable[[tuple[Node, ...]], Evaluate]:
    def control(arguments: tuple[Node, ...]) -> Evaluate:
        _arguments(name, arguments, 1)
        value = _compiled(arguments[0])
        return lambda bindings: check(value(bindings))

    return control


def _numeric(value: Value) -> bool:
    from llm_assets.data.openrefine.java import parse_double

    return is_number(value) or (isinstance(value, str) and parse_double(value) is not None)


CONTROLS: dict[str, Callable[[tuple[Node, ...]], Evaluate]] = {
    "if": _if,
    "with": _with,
    "forEach": _each("forEach", indexed=False, keep=False),
    "forEachIndex": _each("forEachIndex", indexed=True, keep=False),
    "filter": _each("filter", indexed=False, keep=True),
    "forRange": _for_range,
    "forNonBlank": _for_non_blank,
    "reduce": _reduce,
    "isBlank": _test("isBlank", is_blank),
    "isNonBlank": _test("isNonBlank", is_data),
    "isNull": _test("isNull", lambda value: value is None),
    "isNotNull": _test("isNotNull", lambda value: value is not None),
    "isEmptyString": _test("isEmptyString", lambda value: isinstance(value, str) and not value),
    "isNumeric": _test("isNumeric", _numeric),
    "isError": _test("isError", lambda value: isinstance(value, EvalError)),
}
