"""Keys and values of prompts' beginnings, kept so that a system prompt or few-shot examples are read once.

A prompt is cut into blocks of tokens. A block's key is a hash of its tokens and of all before them, so equal keys mean
equal prefixes. The cache belongs to one loaded package: it goes with it, and can not be stale.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from llm_assets.inference.kv_cache import KvCache

BLOCK = 32  # tokens


@dataclass(frozen=True)
class Found:
    """Blocks of a prompt that are cached: `tokens` of its beginning need not be read."""

    tokens: int
    blocks: list[np.ndarray]


class PrefixCache:
    """At most `limit` bytes; what was not used for longest goes first, and a block before the one it continues.

    cache: one such as the prompts are read into.
    """

    def __init__(self, limit: int, cache: KvCache) -> None:
        self._blocks: OrderedDict[bytes, np.ndarray] = OrderedDict()
        # Made once and used again and again: memory that is fresh from the system costs more than the copying.
        shape = cache.block(BLOCK)
        self._room = np.empty((limit // (4 * int(np.prod(shape))), *shape), np.float32)
        self._unused: list[np.ndarray] = []
        self._taken = 0  # blocks of the room that are in use, or unused
        self._ahead = 0
        self._lock = threading.Lock()  # over `_taken`
        self._taker: threading.Thread | None = None

    def touch(self, tokens: int) -> None:
        """Take the memory of the next so many tokens from the system, before they come; and as much again whenever
        half of it is used, in a thread, while nobody waits for it."""
        self._ahead = tokens // BLOCK
        self._take(self._ahead)

    def _take(self, count: int) -> None:
        with self._lock:
            start, self._taken = self._taken, min(self._taken + count, len(self._room))
            blocks = self._room[start : self._taken]
        blocks.fill(0)
        self._unused.extend(blocks)

    def find(self, prompt: Sequence[int]) -> Found:
        """The longest cached beginning of a prompt. Its last token is never part of it: the model must read one."""
        keys = []
        for key, stop in _keys(prompt):
            if key not in self._blocks or stop >= len(prompt):
                break
            keys.append(key)
        for key in reversed(keys):  # a beginning is younger than what continues it, so it goes later
            self._blocks.move_to_end(key)
        return Found(len(keys) * BLOCK, [self._blocks[key] for key in keys])

    def keep(self, prompt: Sequence[int], cache: KvCache, row: int) -> None:
        """Take in the whole blocks of a prompt that `row` of `cache` holds."""
        keys = list(_keys(prompt))
        needed = {key for key, _ in keys}
        for key, stop in keys:
            if key not in self._blocks:
                block = self._block(needed)
                if block is None:
                    break
                self._blocks[key] = block
                cache.read(row, stop - BLOCK, block)
        for key, _ in reversed(keys):
            if key in self._blocks:
                self._blocks.move_to_end(key)

    def _block(self, needed: set[bytes]) -> np.ndarray | None:
        """One to write to: an unused one, or the one that was not used for longest; None where that is `needed`."""
        self._stay_ahead()
        if not self._unused:
            self._take(1)
        if self._unused:
            return self._unused.pop()
        oldest = next(iter(self._blocks), None)
        return None if oldest is None or oldest in needed else self._blocks.pop(oldest)

    def _stay_ahead(self) -> None:
        more = self._taken < len(self._room) and 2 * len(self._unused) < self._ahead
        if more and not (self._taker and self._taker.is_alive()):
            self._taker = threading.Thread(target=self._take, args=[self._ahead], name="prefix-memory", daemon=True)
            self._taker.start()


def _keys(prompt: Sequence[int]) -> Iterator[tuple[bytes, int]]:
    """(key, end) of each whole block of a prompt, one after the other."""
    tokens = np.asarray(prompt, dtype=np.int32)
    key = b""
    for stop in range(BLOCK, len(tokens) + 1, BLOCK):
        key = hashlib.blake2b(key + tokens[stop - BLOCK : stop].tobytes(), digest_size=16).digest()
        yield key, stop
