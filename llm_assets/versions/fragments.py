"""Telling a text again where it was cut, wrapped or escaped: by its runs of eight words, hashed.

A text is compared without case, punctuation, markup characters and white space. One of fewer than eight words is one
run; one of fewer than five is looked for as a whole value only, because anybody may have said as little. Hashes (64
bits) are kept in place of the words, so that an erasure can be proved after the text is gone.
"""

from __future__ import annotations

import hashlib
import html
import re
from collections.abc import Iterable, Mapping

WORDS = 8
TELLING = 5
NOT_WORDS = re.compile(r"[\W_]+")
ESCAPES = re.compile(r"\\[nrt]|\\u[0-9a-fA-F]{4}")

Fragments = dict[int, set[str]]  # words in a run -> hashes of the runs


def fragments(texts: Iterable[str]) -> Fragments:
    """The runs of these texts, by their length."""
    found: Fragments = {}
    for text in texts:
        words = words_of(text)
        if words:
            size = min(WORDS, len(words))
            found.setdefault(size, set()).update(_runs(words, size))
    return found


def without(some: Mapping[int, set[str]], texts: Iterable[str]) -> Fragments:
    """Those of `some` that are in none of these texts: what is common to others tells nothing."""
    left = {size: set(hashes) for size, hashes in some.items()}
    for text in texts:
        words = words_of(text)
        for size, hashes in left.items():
            if size >= TELLING or len(words) == size:
                hashes.difference_update(_runs(words, size))
    return {size: hashes for size, hashes in left.items() if hashes}


def holds(text: str, wanted: Mapping[int, set[str]]) -> bool:
    """Whether any of the runs is in a text."""
    words = words_of(text)
    return any(
        not hashes.isdisjoint(_runs(words, size))
        for size, hashes in wanted.items()
        if size >= TELLING or len(words) == size
    )


def words_of(text: str) -> list[str]:
    return NOT_WORDS.sub(" ", html.unescape(ESCAPES.sub(" ", text)).casefold()).split()


def _runs(words: list[str], size: int) -> Iterable[str]:
    for at in range(len(words) - size + 1):
        yield hashlib.blake2b(" ".join(words[at : at + size]).encode("utf-8", "replace"), digest_size=8).hexdigest()
