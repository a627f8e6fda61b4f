"""GREL, the General Refine Expression Language: text to syntax tree and back.

The grammar is OpenRefine's: comparison binds weakest, then + and -, then * / %, then literals, names, calls, `.name`,
`.function(...)` and `[...]`. A slash where a value may start opens a regular expression.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any

from llm_assets.errors import UserError


@dataclass(frozen=True)
class Literal:
    value: Any


@dataclass(frozen=True)
class Regex:
    pattern: str
    ignore_case: bool = False


@dataclass(frozen=True)
class Name:
    name: str


@dataclass(frozen=True)
class Field:
    of: Node
    name: str


@dataclass(frozen=True)
class Call:
    function: str
    arguments: tuple[Node, ...] = field(default=())


@dataclass(frozen=True)
class Array:
    items: tuple[Node, ...] = field(default=())


@dataclass(frozen=True)
class Operation:
    operator: str
    left: Node
    right: Node


Node = Literal | Regex | Name | Field | Call | Array | Operation

COMPARISONS = (">", ">=", "<", "<=", "==", "!=")
LEVELS: tuple[tuple[str, ...], ...] = (COMPARISONS, ("+", "-"), ("*", "/", "%"))
DEEPEST = 100  # nested brackets, calls and arguments
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r"}


@dataclass(frozen=True)
class Token:
    kind: str  # "string", "number", "name", "regex", "symbol", "end"
    text: str
    start: int
    value: Any = None


class GrelError(UserError):
    """An expression that is not GREL; the message has the offset."""


def walk(node: Node) -> Iterator[Node]:
    """The node and everything below it."""
    yield node
    for item in fields(node):
        value = getattr(node, item.name)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, Node):
                yield from walk(child)


def parse(text: str, functions: Collection[str], controls: Collection[str]) -> Node:
    """The tree of an expression. Raises GrelError, for a function or control that is not known by its name."""
    source = _Source(text, functions, controls)
    node = _binary(source, 0, 0)
    if source.token.kind != "end":
        raise source.error(f"{source.token.text!r} follows a whole expression")
    return node


class _Source:
    """Tokens on demand: whether a slash divides or opens a regular expression, only the parser knows."""

    def __init__(self, text: str, functions: Collection[str], controls: Collection[str]) -> None:
        self.text, self.functions, self.controls = text, functions, controls
        self.at = 0
        self.token = Token("end", "", 0)
        self.next(value_expected=True)

    def next(self, value_expected: bool) -> None:
        self.token = _token(self.text, self.at, value_expected)
        self.at = self.token.start + len(self.token.text)

    def take(self, symbol: str, value_expected: bool) -> bool:
        if self.token.kind == "symbol" and self.token.text == symbol:
            self.next(value_expected)
            return True
        return False

    def error(self, what: str) -> GrelError:
        return GrelError(f"GREL {self.text!r}, offset {self.token.start}: {what}")


def _token(text: str, at: int, value_expected: bool) -> Token:
    while at < len(text) and text[at].isspace():
        at += 1
    if at == len(text):
        return Token("end", "", at)
    char = text[at]
    if char in "0123456789":
        return _number(text, at)
    if char in "\"'":
        return _string(text, at)
    if char.isalpha() or char == "_":
        end = at
        while end < len(text) and (text[end].isalnum() or text[end] == "_"):
            end += 1
        return Token("name", text[at:end], at)
    if char == "/" and value_expected:
        return _regex(text, at)
    for symbol in ("!=", "<=", ">=", "==", *"+-*/%.()[],<>"):
        if text.startswith(symbol, at):
            return Token("symbol", symbol, at)
    raise GrelError(f"GREL {text!r}, offset {at}: {char!r} means nothing here")


def _number(text: str, at: int) -> Token:
    end = at
    while end < len(text) and text[end] in "0123456789":
        end += 1
    if text.startswith(".", end) and text[end + 1 : end + 2].isdigit():
        end += 1
        while end < len(text) and text[end] in "0123456789":
            end += 1
        return Token("number", text[at:end], at, float(text[at:end]))
    if end - at > 18:
        raise GrelError(f"GREL {text!r}, offset {at}: the number is too large")
    return Token("number", text[at:end], at, int(text[at:end]))


def _string(text: str, at: int) -> Token:
    out: list[str] = []
    n = at + 1
    while n < len(text):
        if text[n] == text[at]:
            return Token("string", text[at : n + 1], at, "".join(out))
        if text[n] == "\\" and n + 1 < len(text):
            n += 1
            out.append(_ESCAPES.get(text[n], text[n]))
        else:
            out.append(text[n])
        n += 1
    raise GrelError(f"GREL {text!r}, offset {at}: the string is not closed")


def _regex(text: str, at: int) -> Token:
    n = at + 1
    while n < len(text) and text[n] != "/":
        n += 2 if text[n] == "\\" else 1
    if n >= len(text):
        raise GrelError(f"GREL {text!r}, offset {at}: the regular expression is not closed")
    flag = text[n + 1 : n + 2] == "i"
    return Token("regex", text[at : n + 1 + flag], at, (text[at + 1 : n], flag))


def _binary(source: _Source, level: int, depth: int) -> Node:
    if level == len(LEVELS):
        return _factor(source, depth)
    left = _binary(source, level + 1, depth)
    length = 0
    while source.token.kind == "symbol" and source.token.text in LEVELS[level]:
        operator = source.token.text
        source.next(value_expected=True)
        left = Operation(operator, left, _binary(source, level + 1, depth))
        length = _bounded(source, length + 1)
    return left


def _bounded(source: _Source, depth: int) -> int:
    if depth > DEEPEST:
        raise source.error(f"nested deeper than {DEEPEST}")
    return depth


def _factor(source: _Source, depth: int) -> Node:
    _bounded(source, depth)
    token = source.token
    node: Node
    if token.kind in ("string", "number"):
        node = Literal(token.value)
        source.next(value_expected=False)
    elif token.kind == "regex":
        node = _checked_regex(source, *token.value)
        source.next(value_expected=False)
    elif source.take("-", value_expected=True):
        if source.token.kind != "number":
            raise source.error("a minus sign stands before a number or between two values")
        node = Literal(-source.token.value)
        source.next(value_expected=False)
    elif token.kind == "name":
        source.next(value_expected=False)
        if source.take("(", value_expected=True):
            if token.text not in source.functions and token.text not in source.controls:
                raise GrelError(f"GREL {source.text!r}: the function {token.text!r} is not supported")
            node = Call(token.text, _list(source, ")", depth))
        else:
            node = Literal(None) if token.text == "null" else Name(token.text)
    elif source.take("(", value_expected=True):
        node = _binary(source, 0, depth + 1)
        if not source.take(")", value_expected=False):
            raise source.error("a closing ) is missing")
    elif source.take("[", value_expected=True):
        node = Array(_list(source, "]", depth))
    else:
        raise source.error("a value is missing")
    return _path(source, node, depth)


def _path(source: _Source, node: Node, depth: int) -> Node:
    length = 0
    while True:
        if source.take(".", value_expected=False):
            name = source.token.text
            if source.token.kind != "name":
                raise source.error("a name must follow the dot")
            source.next(value_expected=False)
            if not source.take("(", value_expected=True):
                node = Field(node, name)
            elif name in source.functions:
                node = Call(name, (node, *_list(source, ")", depth)))
            else:
                raise GrelError(f"GREL {source.text!r}: the function {name!r} is not supported")
        elif source.take("[", value_expected=True):
            node = Call("get", (node, *_list(source, "]", depth)))
        else:
            return node
        length = _bounded(source, length + 1)


def _list(source: _Source, closing: str, depth: int) -> tuple[Node, ...]:
    items: list[Node] = []
    if not source.take(closing, value_expected=False):
        items.append(_binary(source, 0, depth + 1))
        while source.take(",", value_expected=True):
            items.append(_binary(source, 0, depth + 1))
        if not source.take(closing, value_expected=False):
            raise source.error(f"a closing {closing} is missing")
    return tuple(items)


def _checked_regex(source: _Source, pattern: str, ignore_case: bool) -> Regex:
    import regex

    from llm_assets.data.openrefine.java import java_regex
    from llm_assets.data.openrefine.values import NotSupported

    try:
        java_regex(pattern, ignore_case)
    except NotSupported as error:
        raise GrelError(f"GREL {source.text!r}: {error} is not supported") from None
    except (regex.error, OverflowError) as error:
        raise source.error(f"bad regular expression ({error})") from None
    return Regex(pattern, ignore_case)


def text_of_tree(node: Node, level: int = 0) -> str:
    """An expression that parses to the same tree."""
    if isinstance(node, Literal):
        return _literal_text(node.value)
    if isinstance(node, Regex):
        return f"/{node.pattern}/{'i' if node.ignore_case else ''}"
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Field):
        return f"{text_of_tree(node.of, 3)}.{node.name}"
    if isinstance(node, Array):
        return f"[{', '.join(map(text_of_tree, node.items))}]"
    if isinstance(node, Call):
        return f"{node.function}({', '.join(map(text_of_tree, node.arguments))})"
    own = next(n for n, operators in enumerate(LEVELS) if node.operator in operators)
    text = f"{text_of_tree(node.left, own)} {node.operator} {text_of_tree(node.right, own + 1)}"
    return f"({text})" if own < level else text


def _literal_text(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + escaped.replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r") + '"'
    if isinstance(value, float):
        plain = format(Decimal(repr(value)), "f")
        return plain if "." in plain else plain + ".0"
    return str(value)
