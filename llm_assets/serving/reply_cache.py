"""Replies given again to the same request: within a number of entries and of bytes."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llm_assets.serving.replies import Choice

ENTRY, CHOICE, CHARACTER = 400, 300, 4  # bytes, at most, of what an entry holds beside its texts and log-probabilities
LOGPROB, ALTERNATIVE = 320, 150  # bytes of one told token, and of each alternative beside it


def held_bytes(choices: list[Choice]) -> int:
    """The memory that an entry with these choices takes, at most, in bytes."""
    total = ENTRY
    for choice in choices:
        total += CHOICE + CHARACTER * len(choice.text)
        total += sum(LOGPROB + ALTERNATIVE * len(told.top) for told in choice.logprobs)
    return total


class ReplyCache:
    """The least recently used entry goes. limit: bytes of all of them together; a reply that is larger is not kept."""

    def __init__(self, entries: int, limit: int) -> None:
        self._most, self._limit, self._held = entries, limit, 0
        self._kept: OrderedDict[bytes, tuple[list[Choice], int]] = OrderedDict()

    def find(self, key: bytes) -> list[Choice] | None:
        """The choices of the reply with this `Reply.cache_key`; None where it is not kept."""
        if key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, key: bytes, choices: list[Choice]) -> None:
        """Remember a finished reply."""
        size = held_bytes(choices)
        self._held -= self._kept.pop(key, ([], 0))[1]
        if self._most and size <= self._limit:
            self._kept[key] = choices, size
            self._held += size
        while len(self._kept) > self._most or self._held > self._limit:
            self._held -= self._kept.popitem(last=False)[1][1]
