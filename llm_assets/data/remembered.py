"""Results for texts that come again and again, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TypeVar

Result = TypeVar("Result")

KNOWN, LONGEST = 2**16, 100  # texts whose results are kept; characters of one at most: longer ones rarely come again


def remembered(work: Callable[[str], Result]) -> Callable[[str], Result]:
    """`work`, a function of a text and of nothing else, done once for a short text that comes again."""
    known = lru_cache(KNOWN)(work)

    def found(text: str) -> Result:
        return known(text) if len(text) <= LONGEST else work(text)

    return found
