"""Keys and values of the sequences in flight: one buffer, whose rows attention reads and writes in place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ALIGNMENT = 64  # tokens: capacities are multiples of it


class KvCache:
    """Room for `tokens` tokens, laid out as an even number of `rows` of at most `capacity` tokens each.

    arrays: for each layer its keys, then its values; float32 [rows, kv_heads, capacity, head_dim]. The same memory
    can be laid out anew as fewer, longer rows or more, shorter ones. Memory that was never written costs nothing.
    """

    def __init__(self, layers: int, kv_heads: int, head_dim: int, tokens: int, capacity: int) -> None:
        self.tokens = tokens
        self._heads, self._dim = kv_heads, head_dim
        self._flat = [np.zeros(tokens * kv_heads * head_dim, np.float32) for _ in range(2 * layers)]
        self._lay_out(capacity)

    def _lay_out(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = self.tokens // capacity // 2 * 2
        if not self.rows:
            raise ValueError(f"a cache of {self.tokens} tokens has no room for two rows of {capacity}")
        shape = (self.rows, self._heads, capacity, self._dim)
        self.arrays = [flat[: int(np.prod(shape))].reshape(shape) for flat in self._flat]

    def touch(self, tokens: int) -> None:
        """Take the memory of the first so many tokens from the system, which takes longer than to write to it. Before
        anything is in it: it is zero afterwards."""
        for flat in self._flat:
            flat[: tokens * self._heads * self._dim] = 0

    def reshape(self, capacity: int, lengths: Sequence[int]) -> None:
        """Lay the memory out for rows of `capacity` tokens; the first len(lengths) rows keep that many tokens each."""
        longest = max(lengths, default=0)
        kept = [array[: len(lengths), :, :longest].copy() for array in self.arrays]
        self._lay_out(capacity)
        for array, saved in zip(self.arrays, kept, strict=True):
            array[: len(lengths), :, :longest] = saved

    def move(self, source: int, target: int, length: int) -> None:
        """Make row `target` hold the first `length` tokens of row `source`."""
        for array in self.arrays:
            array[target, :, :length] = array[source, :, :length]

    def keep(self, rows: Sequence[int], lengths: Sequence[int]) -> None:
        """Make these rows, ascending, with so many tokens each, the first ones (finished sequences leave)."""
        for target, (source, length) in enumerate(zip(rows, lengths, strict=True)):
            if source != target:
                self.move(source, target, length)

    def block(self, tokens: int) -> tuple[int, ...]:
        """The shape of so many tokens of a row, for `read`: [2 * layers, kv_heads, tokens, head_dim]."""
        return (len(self.arrays), self._heads, tokens, self._dim)

    def read(self, row: int, start: int, out: np.ndarray) -> None:
        """Copy a row's tokens from `start` on to `out`, float32 and of the shape `block`."""
        stop = start + out.shape[2]
        for array, part in zip(self.arrays, out, strict=True):
            part[...] = array[row, :, start:stop]

    def write(self, row: int, start: int, block: np.ndarray) -> None:
        """Put back what `read` gave."""
        stop = start + block.shape[2]
        for array, part in zip(self.arrays, block, strict=True):
            array[row, :, start:stop] = part


def aligned(tokens: int) -> int:
    """The smallest capacity that holds so many tokens."""
    return -(-tokens // ALIGNMENT) * ALIGNMENT
