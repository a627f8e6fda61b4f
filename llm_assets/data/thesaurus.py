"""Synonyms, from the small list of groups that ships with the project (`synonyms.txt`, written for it)."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def synonyms() -> dict[str, list[str]]:
    """word -> single words that may stand for it, sorted; from every group that holds the word."""
    found: dict[str, set[str]] = {}
    for line in Path(__file__).with_name("synonyms.txt").read_text(encoding="utf-8").splitlines():
        group = [] if line.startswith("#") else line.split()
        for word in group:
            found.setdefault(word, set()).update(other for other in group if other != word)
    return {word: sorted(others) for word, others in sorted(found.items()) if others}
