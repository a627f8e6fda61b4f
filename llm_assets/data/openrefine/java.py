"""Java's regular expressions, replacement templates and number formats, as Python; what is unknown here is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import regex

from llm_assets.data.openrefine.values import EvalError, NotSupported, double_text, is_number

Pattern = Any  # regex.Pattern: the library has no types

# Java's classes are ASCII unless told otherwise; each is the inside of a character class.
_CLASSES = {
    "d": "0-9",
    "w": "a-zA-Z0-9_",
    "s": r"\t\n\x0b\f\r ",
    "h": r"\t \xa0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000",
    "v": r"\n\x0b\f\r\x85\u2028\u2029",
}
_POSIX = {
    "Lower": "a-z",
    "Upper": "A-Z",
    "ASCII": r"\x00-\x7f",
    "Alpha": "a-zA-Z",
    "Digit": "0-9",
    "Alnum": "a-zA-Z0-9",
    "Punct": r"!-/:-@\[-`\{-~",
    "Graph": "!-~",
    "Print": " -~",
    "Blank": r" \t",
    "Cntrl": r"\x00-\x1f\x7f",
    "XDigit": "0-9a-fA-F",
    "Space": r"\t\n\x0b\f\r ",
}
_CATEGORIES = {
    *("L", "Lu", "Ll", "Lt", "Lm", "Lo", "M", "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P", "Pc", "Pd", "Ps", "Pe"),
    *("Pi", "Pf", "Po", "S", "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "C", "Cc", "Cf", "Co", "Cn"),
    *("IsLatin", "IsGreek", "IsCyrillic", "IsHan", "IsArabic", "IsHebrew", "IsAlphabetic", "IsLetter", "IsDigit"),
    *("IsUppercase", "IsLowercase", "IsPunctuation", "IsWhite_Space", "InGreek", "InCyrillic"),
}
_END = r"(?=(?:\r\n|[\n\r\x85\u2028\u2029])?\Z)"
_SIMPLE = {"t": r"\t", "n": r"\n", "r": r"\r", "f": r"\f", "a": r"\x07", "e": r"\x1b"}


@lru_cache(maxsize=1024)
def java_regex(pattern: str, ignore_case: bool = False) -> Pattern:
    """Compile a Java pattern. Raises `regex.error` where it is broken, `NotSupported` for what is not known here."""
    if ignore_case and not pattern.isascii():
        raise NotSupported(f"regular expression /{pattern}/i: ignoring the case of letters other than ASCII")
    translated = _translate(pattern)
    flags = regex.VERSION1 | (regex.IGNORECASE if ignore_case else 0)
    return regex.compile(("(?-f)" if ignore_case else "") + translated, flags)


def _translate(pattern: str) -> str:
    out: list[str] = []
    depth = 0  # of nested character classes
    n = 0
    while n < len(pattern):
        char = pattern[n]
        if char == "\\":
            piece, n = _escape(pattern, n + 1, depth > 0)
            out.append(piece)
            continue
        n += 1
        if char == "[":
            depth += 1
            out.append("[")
            if pattern.startswith("^", n):
                out.append("^")
                n += 1
            if pattern.startswith("]", n) and depth == 1:
                out.append(r"\]")
                n += 1
        elif depth:
            if char == "]":
                depth -= 1
            # what has a meaning of its own in Python's sets and none in Java's
            out.append("\\" + char if char in "~|-&" and _literal_in_class(pattern, n - 1) else char)
        elif char == ".":
            out.append(r"[^\n\r\x85\u2028\u2029]")
        elif char == "$":
            out.append(_END)
        elif char == "(" and pattern.startswith("?", n):
            n = _group(pattern, n, out)
        elif char == "{" and not regex.match(r"\d+(,\d*)?\}", pattern[n:]):
            raise regex.error("illegal repetition", pattern, n - 1)
        else:
            out.append(char)
    return "".join(out)


def _literal_in_class(pattern: str, n: int) -> bool:
    char = pattern[n]
    doubled = pattern[n + 1 : n + 2] == char or pattern[n - 1] == char
    if char == "&":
        return not doubled
    return doubled  # a single - ~ | is the same in both


def _group(pattern: str, n: int, out: list[str]) -> int:
    """After `(`, at `?`: groups and inline flags; returns where to go on."""
    head = regex.match(r"\?(?:[:=!>]|<[=!]|<[A-Za-z][A-Za-z0-9]*>|[imsx-]+[:)])", pattern[n:])
    if head is None:
        raise NotSupported(f"regular expression /{pattern}/: the group ({pattern[n : n + 3]}")
    text = head.group()
    if text[1] in "imsx-" and set(text[1:-1]) - set("i-"):
        raise NotSupported(f"regular expression /{pattern}/: the flags ({text}")
    out.append("(" + text)
    return n + len(text)


def _escape(pattern: str, n: int, in_class: bool) -> tuple[str, int]:
    """The escape whose letter is at `n`: (its translation, where to go on)."""
    if n >= len(pattern):
        raise regex.error("the pattern ends with a backslash", pattern, n)
    char = pattern[n]
    after = n + 1
    if char.lower() in _CLASSES and char.lower() in "dwshv":
        inside = _CLASSES[char.lower()]
        if char.islower():
            return (inside if in_class else f"[{inside}]"), after
        return f"[^{inside}]", after
    if char in "pP":
        found = regex.match(r"\{\^?([A-Za-z_=]+)\}|([A-Z])", pattern[after:])
        name = (found.group(1) or found.group(2)) if found else ""
        if found and name in _POSIX:
            negated = char == "P"
            body = f"[{'^' if negated else ''}{_POSIX[name]}]"
            return body, after + found.end()
        if found and name in _CATEGORIES:
            return f"\\{char}{{{name}}}", after + found.end()
        raise NotSupported(f"regular expression /{pattern}/: the class \\{char}{pattern[after : after + 12]}")
    if char == "Q":
        end = pattern.find("\\E", after)
        end = len(pattern) if end < 0 else end
        return regex.escape(pattern[after:end]), end + 2
    if char == "u" or char == "x":
        found = regex.match(r"[0-9a-fA-F]{4}" if char == "u" else r"[0-9a-fA-F]{2}|\{[0-9a-fA-F]+\}", pattern[after:])
        if not found:
            raise regex.error(f"illegal escape \\{char}", pattern, n)
        return regex.escape(chr(int(found.group().strip("{}"), 16))), after + found.end()
    if char in _SIMPLE:
        return _SIMPLE[char], after
    if char == "k":
        found = regex.match(r"<([A-Za-z][A-Za-z0-9]*)>", pattern[after:])
        if not found:
            raise regex.error("\\k needs a group's name", pattern, n)
        return f"(?P={found.group(1)})", after + found.end()
    if not in_class:
        if char == "Z":
            return _END, after
        if char == "z":
            return r"\Z", after
        if char in "AbBG":
            return "\\" + char, after
        if char == "R":
            return r"(?>\r\n|[\n\x0b\f\r\x85\u2028\u2029])", after
        if char.isdigit() and char != "0":
            return f"(?:\\{char})", after
    if char.isascii() and char.isalnum():
        raise NotSupported(f"regular expression /{pattern}/: the escape \\{char}")
    return regex.escape(char), after


def java_split(pattern: Pattern, text: str, limit: int = 0) -> list[str]:
    """`Pattern.split`: no empty piece for an empty match at the start; trailing empty pieces go when limit is 0."""
    pieces: list[str] = []
    start = 0
    for match in pattern.finditer(text):
        if limit > 0 and len(pieces) == limit - 1:
            break
        if match.end() == 0:
            continue
        if match.start() == match.end() == len(text):
            continue
        pieces.append(text[start : match.start()])
        start = match.end()
    if not pieces and start == 0:
        return [text]
    pieces.append(text[start:])
    if limit == 0:
        while pieces and not pieces[-1]:
            pieces.pop()
    return pieces


def java_replacement(template: str) -> Callable[[Any], str]:
    """`Matcher.replaceAll`'s template ($1, ${name}, \\$) as a function of the match."""
    parts: list[str | tuple[str]] = []
    n = 0
    while n < len(template):
        char = template[n]
        if char == "\\":
            if n + 1 == len(template):
                raise ValueError("character to be escaped is missing")
            parts.append(template[n + 1])
            n += 2
        elif char == "$":
            found = regex.match(r"\{([A-Za-z][A-Za-z0-9]*)\}|(\d+)", template[n + 1 :])
            if not found:
                raise ValueError("illegal group reference")
            parts.append((found.group(1) or found.group(2),))
            n += 1 + found.end()
        else:
            parts.append(char)
            n += 1

    def fill(match: Any) -> str:
        out = []
        for part in parts:
            if isinstance(part, str):
                out.append(part)
                continue
            name, rest = part[0], ""
            if name.isdigit():  # as many digits as still name a group
                while len(name) > 1 and int(name) > match.re.groups:
                    name, rest = name[:-1], name[-1] + rest
                if int(name) > match.re.groups:
                    raise ValueError(f"no group {name}")
            elif name not in match.re.groupindex:
                raise ValueError(f"no group named {name}")
            out.append((match.group(int(name) if name.isdigit() else name) or "") + rest)
        return "".join(out)

    return fill


def java_format(template: str, number: Any) -> str | EvalError:
    """`String.format` with one number: %d, %x, %o, %e, %f, %s with flags, width and precision."""
    out, last = [], 0
    for found in regex.finditer(r"%(?:(%)|(n)|([-#+ 0,]*)(\d*)(\.\d+)?([a-zA-Z]))", template):
        out.append(template[last : found.start()])
        last = found.end()
        percent, newline, flags, width, precision, kind = found.groups()
        if percent or newline:
            out.append("%" if percent else "\n")
            continue
        if kind in "dxo" and not isinstance(number, int):
            return EvalError(f"format %{kind} needs a whole number")
        if kind in "feE" and not isinstance(number, float):
            return EvalError(f"format %{kind} needs a decimal number")
        if kind not in "dxofeEs" or "#" in flags:
            raise NotSupported(f"number format {found.group()!r}")
        out.append(_formatted(number, flags, width, precision, kind))
    rest = template[last:]
    if "%" in regex.sub(r"%(?:%|n|[-#+ 0,]*\d*(?:\.\d+)?[a-zA-Z])", "", template):
        return EvalError(f"unknown format {template!r}")
    return "".join([*out, rest])


def _formatted(number: Any, flags: str, width: str, precision: str | None, kind: str) -> str:
    if kind == "s":
        text = double_text(number) if isinstance(number, float) else str(number)
        return text.ljust(int(width or 0)) if "-" in flags else text.rjust(int(width or 0))
    if kind == "f":  # Java rounds the decimal text half up
        from decimal import ROUND_HALF_UP, Decimal

        places = int((precision or ".6")[1:])
        number = Decimal(repr(number)).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
        precision = f".{places}"
    align = "<" if "-" in flags else "0" if "0" in flags else ""
    sign = "+" if "+" in flags else " " if " " in flags else ""
    pad = "<" + sign if align == "<" else sign + align
    return format(number, f"{pad}{width}{',' if ',' in flags else ''}{precision or ''}{kind}")


def parse_long(text: str) -> int | None:
    """`Long.parseLong`, or None."""
    return int(text) if regex.fullmatch(r"[+-]?[0-9]{1,19}", text) and -(2**63) <= int(text) < 2**63 else None


def parse_double(text: str) -> float | None:
    """`Double.parseDouble` for decimal text, or None."""
    text = text.strip("".join(map(chr, range(33))))
    if regex.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?", text):
        return float(text.rstrip("fFdD"))
    return {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}.get(text)


def whole(value: Any) -> int | None:
    """A number as Java's `intValue` cuts it."""
    return int(value) if is_number(value) and value == value and abs(value) != float("inf") else None


def guessed(text: str) -> str | int | float:
    """A text as the number it looks like ("guess cell type")."""
    number = parse_long(text.strip())
    decimal = parse_double(text) if number is None else None
    if number is not None:
        return number
    return text if decimal is None or decimal != decimal or abs(decimal) == float("inf") else decimal
