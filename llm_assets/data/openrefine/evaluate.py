"""Evaluation of GREL: a syntax tree becomes one Python function of the bindings of a cell."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from llm_assets.data.openrefine import text_functions, value_functions  # noqa: F401  (they register themselves)
from llm_assets.data.openrefine.controls import CONTROLS, Bindings, Evaluate, variables
from llm_assets.data.openrefine.java import java_regex
from llm_assets.data.openrefine.operators import operator_of
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
from llm_assets.data.openrefine.registry import FUNCTIONS, REFUSED
from llm_assets.data.openrefine.values import EvalError, Value

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
    bound = {name for node in walk(tree) if isinstance(node, Call) for name in variables(node)}
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
        left, right, operate = _compiled(node.left), _compiled(node.right), operator_of(node.operator)
        return lambda bindings: operate(left(bindings), right(bindings))
    if node.function in CONTROLS:
        return CONTROLS[node.function](node.arguments, _compiled)
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
