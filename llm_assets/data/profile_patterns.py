"""The shape of a value: `Aa+ 9{4}` is a capital, small letters, a space and four digits.

A: upper case, a: any other letter, 9: digit, other characters stand for themselves. Runs of small letters are one
letter (`a`) or more (`a+`), so words of any length have one shape; runs of digits and short runs of capitals are
counted, because codes differ by them.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

LONGEST = 64  # characters; a longer value is prose and has no shape worth counting
UPPER, LOWER, DIGIT, SPACE = (ord(mark) for mark in "Aa9 ")
COUNTED = {UPPER: 4, DIGIT: 20}  # runs of up to this many are told apart by their length
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
ASCII = {"A": "[A-Z]", "a": "[a-z]", "9": "[0-9]", " ": r"\s"}
ANY = {"A": r"[^\W\d_]", "a": r"[^\W\d_]", "9": r"\d", " ": r"\s"}


def pattern_of(value: str) -> str:
    """The pattern of one value of at most LONGEST characters."""
    parts = []
    for kind, run in itertools.groupby(_kind(character) for character in value):
        length = sum(1 for _ in run)
        mark = chr(kind)
        escaped = "\\" + mark if mark in "\\+{}" else mark if mark.isprintable() else f"\\u{kind:04x}"
        many = f"{{{length}}}" if length <= COUNTED.get(kind, 0) else "+"
        parts.append(escaped + (many if length > 1 else ""))
    return "".join(parts)


def pattern_regex(value: str) -> str:
    """A regular expression that `value` and all ASCII values of its shape match whole."""
    parts, classes = [], ASCII if value.isascii() else ANY
    for kind, run in itertools.groupby(_kind(character) for character in value):
        length = sum(1 for _ in run)
        mark = chr(kind)
        many = f"{{{length}}}" if length <= COUNTED.get(kind, 0) else "+"
        parts.append(classes.get(mark, re.escape(mark)) + (many if length > 1 else ""))
    return f"^{''.join(parts)}$"


def pattern_keys(values: pa.Array) -> np.ndarray:
    """A 64-bit key of the pattern of each value: equal where the patterns are (uint64 [n]).

    values: strings, none null or empty, of at most LONGEST characters. All runs of all values are found at once.
    """
    if not len(values):
        return np.empty(0, np.uint64)
    codes, starts = _code_points(values)
    kinds = _kinds()[codes]
    first = np.empty(kinds.size, bool)
    first[0] = True
    np.not_equal(kinds[1:], kinds[:-1], out=first[1:])
    first[starts[:-1]] = True
    runs = np.flatnonzero(first)
    lengths = np.diff(np.append(runs, kinds.size))
    kind = kinds[runs]
    counted = np.where(kind == DIGIT, COUNTED[DIGIT], np.where(kind == UPPER, COUNTED[UPPER], 1))
    tokens = kind.astype(np.uint64) * np.uint64(256) + np.where(lengths <= counted, lengths, 255).astype(np.uint64)
    row_first = np.searchsorted(runs, starts[:-1])
    place = np.arange(runs.size) - np.repeat(row_first, np.diff(np.append(row_first, runs.size)))
    mixed = _mix((tokens + np.uint64(1)) * MULTIPLIER + _mix(place.astype(np.uint64)))
    keys: np.ndarray = np.add.reduceat(mixed, row_first)
    return keys


def _kind(character: str) -> int:
    if character.isascii():  # the table below is for these too, but takes a moment to build
        return _ascii_kind(character)
    return int(_kinds()[ord(character)])


def _ascii_kind(character: str) -> int:
    if character.isdigit():
        return DIGIT
    if character.isalpha():
        return UPPER if character.isupper() else LOWER
    return SPACE if character in " \t\r\n\x0b\x0c" else ord(character)


@cache
def _kinds() -> np.ndarray:
    """Code point -> the character that stands for its kind (uint32 [0x110000])."""
    table = np.arange(0x110000, dtype=np.uint32)
    for code in range(0x110000):
        category = unicodedata.category(chr(code))
        if category[0] in "LM":
            table[code] = UPPER if category in ("Lu", "Lt") else LOWER
        elif category == "Nd":
            table[code] = DIGIT
        elif category[0] == "Z":
            table[code] = SPACE
    table[[9, 10, 11, 12, 13]] = SPACE
    return table


def _code_points(values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(code points of all values, one behind the other; where each begins, and the end)."""
    _, ends, data = values.buffers()
    offsets = np.frombuffer(ends, np.int32)[values.offset : values.offset + len(values) + 1].astype(np.int64)
    data = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]]
    offsets -= offsets[0]
    if data.max() < 128:
        return data, offsets
    characters = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80)])
    return np.frombuffer(data.tobytes().decode().encode("utf-32-le"), np.uint32), characters[offsets]


def _mix(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al. 2014): a bijection of 64 bits."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
