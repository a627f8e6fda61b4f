"""The controls of GREL: they evaluate their arguments themselves, some with a variable bound."""

from __future__ import annotations

import math
from collections.abc import Callable

from llm_assets.data.openrefine.java import parse_double
from llm_assets.data.openrefine.parser import Call, GrelError, Name, Node
from llm_assets.data.openrefine.registry import wrong
from llm_assets.data.openrefine.value_functions import truth
from llm_assets.data.openrefine.values import EvalError, Value, is_blank, is_data, is_number

Bindings = dict[str, Value]
Evaluate = Callable[[Bindings], Value]
Arguments = tuple[Node, ...]
Compile = Callable[[Node], Evaluate]
Control = Callable[[Arguments, Compile], Evaluate]


def variables(node: Call) -> list[str]:
    places = {"with": [1], "forEach": [1], "forNonBlank": [1], "filter": [1], "forEachIndex": [1, 2], "forRange": [3]}
    places["reduce"] = [1, 2]
    arguments = node.arguments
    found = [arguments[n] for n in places.get(node.function, []) if n < len(arguments)]
    return [item.name for item in found if isinstance(item, Name)]


def _arguments(name: str, arguments: Arguments, count: int, variables: tuple[int, ...] = ()) -> None:
    if len(arguments) != count:
        raise GrelError(f"GREL: {name} expects {count} arguments, it has {len(arguments)}")
    for place in variables:
        if not isinstance(arguments[place], Name):
            raise GrelError(f"GREL: argument {place + 1} of {name} must be a variable's name")


def _if(arguments: Arguments, compiled: Compile) -> Evaluate:
    if len(arguments) not in (2, 3):
        raise GrelError(f"GREL: if expects 2 or 3 arguments, it has {len(arguments)}")
    test, yes = compiled(arguments[0]), compiled(arguments[1])
    no: Evaluate = compiled(arguments[2]) if len(arguments) == 3 else lambda bindings: None

    def choose(bindings: Bindings) -> Value:
        found = test(bindings)
        if isinstance(found, EvalError):
            return found
        return yes(bindings) if truth(found) else no(bindings)

    return choose


def _with(arguments: Arguments, compiled: Compile) -> Evaluate:
    _arguments("with", arguments, 3, (1,))
    value, name, body = compiled(arguments[0]), _variable(arguments[1]), compiled(arguments[2])

    def bind(bindings: Bindings) -> Value:
        found = value(bindings)
        return found if isinstance(found, EvalError) else body({**bindings, name: found})

    return bind


def _each(name: str, indexed: bool, keep: bool) -> Control:
    def control(arguments: Arguments, compiled: Compile) -> Evaluate:
        _arguments(name, arguments, 4 if indexed else 3, (1, 2) if indexed else (1,))
        items, body = compiled(arguments[0]), compiled(arguments[-1])
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


def _for_range(arguments: Arguments, compiled: Compile) -> Evaluate:
    _arguments("forRange", arguments, 5, (3,))
    bounds, name, body = [compiled(item) for item in arguments[:3]], _variable(arguments[3]), compiled(arguments[4])

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


def _for_non_blank(arguments: Arguments, compiled: Compile) -> Evaluate:
    _arguments("forNonBlank", arguments, 4, (1,))
    value, name = compiled(arguments[0]), _variable(arguments[1])
    yes, no = compiled(arguments[2]), compiled(arguments[3])

    def choose(bindings: Bindings) -> Value:
        found = value(bindings)
        return yes({**bindings, name: found}) if is_data(found) else no(bindings)

    return choose


def _reduce(arguments: Arguments, compiled: Compile) -> Evaluate:
    _arguments("reduce", arguments, 5, (1, 2))
    items, start, body = compiled(arguments[0]), compiled(arguments[3]), compiled(arguments[4])
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


def _test(name: str, check: Callable[[Value], bool]) -> Control:
    def control(arguments: Arguments, compiled: Compile) -> Evaluate:
        _arguments(name, arguments, 1)
        value = compiled(arguments[0])
        return lambda bindings: check(value(bindings))

    return control


def _numeric(value: Value) -> bool:
    return is_number(value) or (isinstance(value, str) and parse_double(value) is not None)


CONTROLS: dict[str, Control] = {
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
