"""Keys under which near-equal spellings meet, and clusters of spellings by edit distance.

Sources: OpenRefine's clustering methods "fingerprint" and "ngram-fingerprint" (key collision) and "levenshtein"
(nearest neighbours among values that share an n-gram, there called blocking).
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

Key = Callable[[str], str]

_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "ø": "oe",
        "å": "aa",
        "œ": "oe",
        "þ": "th",
        "ð": "d",
        "đ": "d",
        "ħ": "h",
        "\u0131": "i",
        "ł": "l",
        "ŋ": "n",
        "ŧ": "t",
        "\u017f": "s",
    }
)


@lru_cache(maxsize=65536)
def plain(text: str) -> str:
    """Trimmed, lower case, without accents, punctuation and control characters; white space and symbols stay."""
    if not text.isascii():
        text = text.strip().lower().translate(_LETTERS)
        text = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    kept = (char for char in text.strip().lower() if char.isspace() or unicodedata.category(char)[0] not in "PC")
    return "".join(kept) if any(char.isalnum() for char in text) else text.strip().lower()


def fingerprint(text: str) -> str:
    """The sorted, distinct words of the plain text: `"Doe, John"` and `"john doe"` have one key."""
    return " ".join(sorted(set(plain(text).split())))


def ngram_fingerprint(text: str, size: int = 2) -> str:
    """The sorted, distinct n-grams of the plain text without white space: `"wordpress"` meets `"word press"`."""
    joined = "".join(plain(text).split())
    if len(joined) <= size:
        return joined
    return "".join(sorted({joined[n : n + size] for n in range(len(joined) - size + 1)}))


def clusters_by_key(counts: Mapping[str, int], key: Key = fingerprint) -> list[list[str]]:
    """Groups of two or more values with one key, each the most frequent value first (then by the alphabet)."""
    groups: dict[str, list[str]] = defaultdict(list)
    for value in counts:
        groups[key(value)].append(value)
    return _ordered(list(groups.values()), counts)


def clusters_by_distance(
    counts: Mapping[str, int], radius: int = 1, block: int = 3, min_length: int = 5
) -> list[list[str]]:
    """Groups of values within `radius` edits (Levenshtein) of the group's most frequent value.

    Only values whose plain texts share an n-gram of `block` characters are compared. Values shorter than `min_length`,
    and two that differ in a digit, never join: `cat` is not `cut`, `Q1` not `Q2`. A group never chains: each member is
    near its head, not merely near another member.
    """
    from rapidfuzz.distance import Levenshtein

    texts = {value: " ".join(plain(value).split()) for value in counts}
    texts = {value: text for value, text in texts.items() if len(text) >= min_length}
    blocks: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    order = sorted(texts, key=lambda value: (-counts[value], value))
    for value in order:
        text = texts[value]
        for gram in _grams(text, block):
            blocks[gram, _digits(text), len(text)].append(value)
    head: dict[str, str] = {}
    for value in order:
        if value in head:
            continue
        head[value] = value
        text = texts[value]
        digits, lengths = _digits(text), range(len(text) - radius, len(text) + radius + 1)
        places = ((gram, digits, length) for gram in sorted(_grams(text, block)) for length in lengths)
        near = dict.fromkeys(other for place in places for other in blocks.get(place, ()))
        for other in near:
            if other not in head and Levenshtein.distance(text, texts[other], score_cutoff=radius) <= radius:
                head[other] = value
    groups: dict[str, list[str]] = defaultdict(list)
    for value, first in head.items():
        groups[first].append(value)
    return _ordered(list(groups.values()), counts)


def _grams(text: str, size: int) -> set[str]:
    return {text[n : n + size] for n in range(max(1, len(text) - size + 1))}


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _ordered(groups: Sequence[Sequence[str]], counts: Mapping[str, int]) -> list[list[str]]:
    ranked = [sorted(group, key=lambda value: (-counts[value], value)) for group in groups if len(group) > 1]
    return sorted(ranked, key=lambda group: (-sum(counts[value] for value in group), group[0]))
