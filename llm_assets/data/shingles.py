"""Texts as sets of hashed word n-grams, a column at a time: what duplicates and contamination are found by."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


def plain_texts(texts: pa.Array) -> pa.Array:
    """Lower case, letters and digits in words with one blank between: what two copies of a text agree in."""
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(pc.replace_substring_regex(pc.utf8_lower(texts), r"[^\pL\pN\pM]+", " "))


def hash_texts(texts: pa.Array) -> np.ndarray:
    """128 bits of each text: uint64 [rows, 2]. Two unequal texts of 10^9 share one with odds of 10^-21."""
    from xxhash import xxh3_128_digest

    joined = b"".join(xxh3_128_digest(text) for text in texts.cast("binary").to_pylist())
    return np.frombuffer(joined, dtype="<u8").reshape(-1, 2)


def shingles(plain: pa.Array, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(values uint64 [n], offsets int64 [rows + 1]): each plain text's runs of `size` words as sorted distinct hashes.

    A text of fewer words is one run. A run's hash mixes its words'; unequal runs share one with odds of 2^-64.
    """
    hashes, starts = _word_hashes(plain)
    counts = np.diff(starts)
    runs = np.maximum(counts - size + 1, 1)
    offsets = np.concatenate([[0], np.cumsum(runs)])
    # The words a run starts at, and how many it has: `size`, or all there are.
    first = np.arange(offsets[-1]) - np.repeat(offsets[:-1] - starts[:-1], runs)
    length = np.repeat(np.minimum(counts, size), runs)
    padded = np.append(hashes, np.zeros(size, dtype=np.uint64))
    mixed = np.zeros(offsets[-1], dtype=np.uint64)
    for place in range(size):
        following = mix(mixed * MULTIPLIER + padded[first + place])
        mixed = following if counts.min(initial=size) >= size else np.where(place < length, following, mixed)
    for row in range(len(runs)):
        mixed[offsets[row] : offsets[row + 1]].sort()
    distinct = np.ones(len(mixed), dtype=bool)
    distinct[1:] = mixed[1:] != mixed[:-1]
    distinct[offsets[:-1]] = True
    kept = np.add.reduceat(distinct, offsets[:-1], dtype=np.int64) if len(runs) else np.zeros(0, dtype=np.int64)
    return mixed[distinct], np.concatenate([[0], np.cumsum(kept)])


def mix(values: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits (the finaliser of SplitMix64, Steele et al. 2014), wrapping around as intended."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _word_hashes(plain: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(hash of each word uint64 [n], offsets int64 [rows + 1]) of plain texts; each distinct word is hashed once."""
    import pyarrow.compute as pc

    words = pc.ascii_split_whitespace(plain)
    counts = pc.list_value_length(words).to_numpy(zero_copy_only=False)
    # Splitting an empty text gives one empty word; it stays, as the one word of that text.
    coded = pc.list_flatten(words).dictionary_encode()
    known = np.array([_word_hash(word) for word in coded.dictionary.cast("binary").to_pylist()], dtype=np.uint64)
    codes = coded.indices.to_numpy(zero_copy_only=False)
    return known[codes], np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])


@lru_cache(maxsize=200_000)
def _word_hash(word: bytes) -> int:
    from xxhash import xxh3_64_intdigest

    return xxh3_64_intdigest(word)
