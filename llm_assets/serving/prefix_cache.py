"""Keys and values of prompts' beginnings, kept so that a system prompt or few-shot examples are read once.

A prompt is cut into blocks of tokens. A block's key is a hash of its tokens and of all before them, so equal keys mean
equal prefixes. The cache belongs to one loaded package: it goes with it, and can not be stale.
"""

from __future__ import annotations

import hashlib
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
        room = np.empty((limit // (4 * int(np.prod(shape))), *shape), np.float32)
        self._unused = list(room[::-1])

    def touch(self, tokens: int) -> None:
        """Take the memory of the next so many tokens from the system, before they come."""
        for block in self._unused[::-1][: tokens // BLOCK]:
            block.fill(0)

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
                if not self._unused and not self._make_room(needed):
                    break
                self._blocks[key] = block = self._unused.pop()
                cache.read(row, stop - BLOCK, block)
        for key, _ in reversed(keys):
            if key in self._blocks:
                self._blocks.move_to_end(key)

    def _make_room(self, needed: set[bytes]) -> bool:
        """Drop the oldest block; False when that is one of `needed`."""
        oldest = next(iter(self._blocks), None)
        if oldest is None or oldest in needed:
            return False
        self._unused.append(self._blocks.pop(oldest))
        return True


def _keys(prompt: Sequence[int]) -> Iterator[tuple[bytes, int]]:
    """(key, end) of each whole block of a prompt, one after the other."""
    tokens = np.asarray(prompt, dtype=np.int32)
    key = b""
    for stop in range(BLOCK, len(tokens) + 1, BLOCK):
        key = hashlib.blake2b(key + tokens[stop - BLOCK : stop].tobytes(), digest_size=16).digest()
        yield key, stop
