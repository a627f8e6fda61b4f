"""GREL's functions of strings."""

from __future__ import annotations

import csv
import hashlib
import html
import io
from typing import Any
from urllib.parse import quote_plus, unquote_plus
from xml.sax.saxutils import escape as xml_escape

import regex

from llm_assets.data.keyers import fingerprint, ngram_fingerprint
from llm_assets.data.openrefine.java import java_replacement, java_split, whole
from llm_assets.data.openrefine.registry import function, wrong
from llm_assets.data.openrefine.values import EvalError, Value, characters, is_number, text_of, units

Pattern = regex.Pattern
WHITE_SPACE = "".join(map(chr, [*range(9, 14), 32, 0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029]))
WHITE_SPACE += "\u202f\u205f\u3000"


@function("toUppercase")
def _upper(value: Value) -> Value:
    return wrong("toUppercase", "a string") if value is None else text_of(value).upper()


@function("toLowercase")
def _lower(value: Value) -> Value:
    return wrong("toLowercase", "a string") if value is None else text_of(value).lower()


@function("toTitlecase", most=2)
def _title(value: Value, delimiters: Value = " \t\r\n.") -> Value:
    if value is None or delimiters is None:
        return wrong("toTitlecase", "one or two strings")
    out, start = [], True
    for char in text_of(value).lower():
        out.append(char.title() if start else char)
        start = char in text_of(delimiters)
    return "".join(out)


@function("trim", "strip")
def _trim(value: Value) -> Value:
    return value.strip(WHITE_SPACE) if isinstance(value, str) else wrong("trim", "a string")


@function("chomp", least=2)
def _chomp(value: Value, end: Value) -> Value:
    if not isinstance(value, str) or not isinstance(end, str):
        return wrong("chomp", "two strings")
    return value.removesuffix(end) if end else value


@function("contains", least=2)
def _contains(value: Value, part: Value) -> Value:
    if value is None or not isinstance(part, str | Pattern):
        return wrong("contains", "a string and a string or regex")
    return part in text_of(value) if isinstance(part, str) else part.search(text_of(value)) is not None


@function("startsWith", least=2)
def _starts(value: Value, part: Value) -> Value:
    if value is None or not isinstance(part, str):
        return wrong("startsWith", "two strings")
    return text_of(value).startswith(part)


@function("endsWith", least=2)
def _ends(value: Value, part: Value) -> Value:
    if value is None or not isinstance(part, str):
        return wrong("endsWith", "two strings")
    return text_of(value).endswith(part)


@function("indexOf", least=2)
def _index(value: Value, part: Value) -> Value:
    if isinstance(value, list):
        return next((n for n, item in enumerate(value) if type(item) is type(part) and item == part), -1)
    if value is None or not isinstance(part, str):
        return wrong("indexOf", "two strings")
    return units(text_of(value)).find(units(part))


@function("lastIndexOf", least=2)
def _last_index(value: Value, part: Value) -> Value:
    if value is None or not isinstance(part, str):
        return wrong("lastIndexOf", "two strings")
    return units(text_of(value)).rfind(units(part))


@function("replace", least=3)
def _replace(value: Value, find: Value, by: Value) -> Value:
    if value is None or not isinstance(find, str | Pattern) or not isinstance(by, str):
        return wrong("replace", "3 strings, or 1 string, 1 regex, and 1 string")
    if isinstance(find, str):
        return text_of(value).replace(find, by)
    try:
        return find.sub(java_replacement(by), text_of(value))
    except ValueError as error:
        return EvalError(f"replace: {error}")


@function("replaceChars", least=3)
def _replace_chars(value: Value, find: Value, by: Value) -> Value:
    if value is None or not isinstance(find, str) or not isinstance(by, str):
        return wrong("replaceChars", "3 strings")
    table: dict[int, str | None] = {}
    for n, char in enumerate(find):
        table.setdefault(ord(char), by[n] if n < len(by) else None)
    return text_of(value).translate(table)


@function("match", least=2)
def _match(value: Value, pattern: Value) -> Value:
    if value is None or not isinstance(pattern, str | Pattern):
        return wrong("match", "a string or object and a regex")
    found = _compiled(pattern).fullmatch(text_of(value))
    return list(found.groups()) if found else None


@function("find", least=2)
def _find(value: Value, pattern: Value) -> Value:
    if value is None or not isinstance(pattern, str | Pattern):
        return wrong("find", "a string and a string or regex")
    text = text_of(value)
    if isinstance(pattern, str):
        found, at = [], text.find(pattern)
        while at >= 0:
            found.append(pattern)
            at = text.find(pattern, at + 1)
        return found
    return [match.group() for match in pattern.finditer(text)]


@function("split", least=2, most=3)
def _split(value: Value, separator: Value, keep: Value = False) -> Value:
    if value is None or not isinstance(separator, str | Pattern):
        return wrong("split", "2 strings, or 1 string and 1 regex, followed by an optional boolean")
    if isinstance(separator, str):
        pieces = split_whole(text_of(value), separator)
        return pieces if keep is True else [piece for piece in pieces if piece]
    return java_split(separator, text_of(value))


@function("smartSplit", least=1, most=2)
def _smart_split(value: Value, separator: Value = None) -> Value:
    if value is None:
        return wrong("smartSplit", "a string")
    text = text_of(value)
    if not text:
        return []
    delimiter = separator if isinstance(separator, str) and separator else "\t" if "\t" in text else ","
    if len(delimiter) > 1:
        return wrong("smartSplit", "a separator of one character")
    return next(csv.reader(io.StringIO(text), delimiter=delimiter), [])


@function("splitByLengths", least=2, most=64)
def _split_lengths(value: Value, *lengths: Value) -> Value:
    if value is None or not all(is_number(length) for length in lengths):
        return wrong("splitByLengths", "a string and numbers")
    return split_lengths(text_of(value), [int(length) for length in lengths])


@function("splitByCharType")
def _split_types(value: Value) -> Value:
    import unicodedata
    from itertools import groupby

    if value is None:
        return wrong("splitByCharType", "a string")
    return ["".join(group) for _, group in groupby(text_of(value), unicodedata.category)]


@function("partition", least=2, most=3)
def _partition(value: Value, part: Value, omit: Value = False) -> Value:
    return _cut(value, part, omit, last=False)


@function("rpartition", least=2, most=3)
def _rpartition(value: Value, part: Value, omit: Value = False) -> Value:
    return _cut(value, part, omit, last=True)


def _cut(value: Value, part: Value, omit: Value, last: bool) -> Value:
    if value is None or not isinstance(part, str | Pattern):
        return wrong("partition", "a string and a string or regex")
    text = text_of(value)
    if isinstance(part, str):
        at = text.rfind(part) if last else text.find(part)
        start, end = at, at + len(part)
    else:
        found = list(part.finditer(text))
        start, end = found[-1 if last else 0].span() if found else (-1, -1)
    if start < 0:
        return [text]
    return [text[:start], text[end:]] if omit is True else [text[:start], text[start:end], text[end:]]


@function("fingerprint")
def _fingerprint(value: Value) -> Value:
    return wrong("fingerprint", "a string") if value is None else fingerprint(text_of(value))


@function("ngramFingerprint", most=2)
def _ngram_fingerprint(value: Value, size: Value = 2) -> Value:
    if value is None or not is_number(size):
        return wrong("ngramFingerprint", "a string and a number")
    return ngram_fingerprint(text_of(value), int(size))


@function("ngram", least=2)
def _ngram(value: Value, size: Value) -> Value:
    if value is None or whole(size) is None or int(size) < 1:
        return wrong("ngram", "a string and a number")
    words = text_of(value).split()
    count = int(size)
    return [text_of(value)] if count >= len(words) else [
        " ".join(words[n : n + count]) for n in range(len(words) - count + 1)
    ]  # fmt: skip


@function("levenshteinDistance", least=2)
def _levenshtein(left: Value, right: Value) -> Value:
    from rapidfuzz.distance import Levenshtein

    if not isinstance(left, str) or not isinstance(right, str):
        return wrong("levenshteinDistance", "two strings")
    return float(Levenshtein.distance(left, right))


@function("md5")
def _md5(value: Value) -> Value:
    return wrong("md5", "a string") if value is None else hashlib.md5(_bytes(value), usedforsecurity=False).hexdigest()


@function("sha1")
def _sha1(value: Value) -> Value:
    return (
        wrong("sha1", "a string") if value is None else hashlib.sha1(_bytes(value), usedforsecurity=False).hexdigest()
    )


def _bytes(value: Value) -> bytes:
    return text_of(value).encode("utf-8", "replace")


@function("unicode")
def _unicode(value: Value) -> Value:
    return wrong("unicode", "a string") if value is None else [ord(char) for char in text_of(value)]


@function("escape", least=2)
def _escape(value: Value, mode: Value) -> Value:
    if value is None or mode not in ("html", "xml", "csv", "url", "javascript"):
        return wrong("escape", "a string and one of html, xml, csv, url, javascript")
    text = text_of(value)
    if mode == "html":
        return html.escape(text, quote=False).replace('"', "&quot;")
    if mode == "xml":
        return xml_escape(text, {'"': "&quot;", "'": "&apos;"})
    if mode == "url":
        return quote_plus(text, safe="*-_.", errors="replace").replace("~", "%7E")
    if mode == "csv":
        return '"' + text.replace('"', '""') + '"' if any(char in text for char in ',"\n\r') else text
    for plain, escaped in (
        ("\\", "\\\\"),
        ('"', '\\"'),
        ("'", "\\'"),
        ("/", "\\/"),
        ("\n", "\\n"),
        ("\r", "\\r"),
        ("\t", "\\t"),
    ):
        text = text.replace(plain, escaped)
    return text


@function("unescape", least=2)
def _unescape(value: Value, mode: Value) -> Value:
    if value is None or mode not in ("html", "xml", "csv", "url", "javascript"):
        return wrong("unescape", "a string and one of html, xml, csv, url, javascript")
    text = text_of(value)
    if mode in ("html", "xml"):
        return html.unescape(text)
    if mode == "url":
        return unquote_plus(text)
    if mode == "csv":
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        return text[1:-1].replace('""', '"') if quoted else text
    named = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}
    return regex.sub(
        r"\\(?:u([0-9a-fA-F]{4})|(.))",
        lambda found: chr(int(found[1], 16)) if found[1] else named.get(found[2], found[2]),
        text,
        flags=regex.DOTALL,
    )


def split_whole(text: str, separator: str, most: int = 0) -> list[str]:
    """commons-lang's splitByWholeSeparatorPreserveAllTokens; without a separator it splits at white space."""
    if not text:
        return []
    if not separator:
        return regex.split(r"\s", text, maxsplit=max(0, most - 1))
    return text.split(separator, most - 1) if most > 0 else text.split(separator)


def split_lengths(text: str, lengths: list[int]) -> list[str]:
    """Pieces of the given lengths; what is left over is dropped, and a piece past the end is empty."""
    coded, out, at = units(text), [], 0
    for length in lengths:
        end = min(at + max(length, 0), len(coded))
        out.append(characters(coded[at:end]))
        at = end
    return out


def _compiled(pattern: Any) -> Any:
    from llm_assets.data.openrefine.java import java_regex

    return java_regex(pattern) if isinstance(pattern, str) else pattern
