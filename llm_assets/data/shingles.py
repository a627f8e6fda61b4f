"""Texts as sets of hashed word n-grams, a column at a time: what duplicates and contamination are found by.

A word is a run of letters and digits, case aside. What lies between two blanks is looked at once for all its
occurrences in a column, so the cost goes with the vocabulary and not with the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.cells import cells_of

if TYPE_CHECKING:
    import pyarrow as pa

MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
PUNCTUATION = re.compile(r"[\W_]+")
# What each byte of UTF-8 is in a word: letters and digits of ASCII in lower case, others as they are; 0 is no part.
LETTERS = np.array([c * (c > 127) or ord(chr(c).lower()) * chr(c).isalnum() for c in range(256)], dtype=np.uint8)


def word_hashes(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(64 bits of each word uint64 [n], offsets int64 [rows + 1]); null is no words."""
    cells = cells_of(texts)
    coded = cells.strings.dictionary_encode()
    found, sizes = _hashes(coded.dictionary)
    return spread(coded.indices.to_numpy(), cells.offsets, found, np.cumsum(sizes) - sizes, sizes)


def spread(
    codes: np.ndarray, rows: np.ndarray, found: np.ndarray, begins: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What was `found` for each distinct cell, at every place of it: (uint64 [n], offsets by row int64 [rows + 1]).

    codes: which cell is at each place; rows: where each row begins among the places; begins, sizes: where what was
    found for each distinct cell begins, and how much it is.
    """
    length = sizes[codes]
    ends = np.concatenate([[0], np.cumsum(length)])
    places = np.arange(ends[-1]) + np.repeat(begins[codes] - ends[:-1], length)
    return found[places], ends[rows]


def text_hashes(hashes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """128 bits of each row's words in their order: uint64 [rows, 2]. Two of 10^9 share one with odds of 10^-21."""
    place = np.arange(len(hashes), dtype=np.uint64) - np.repeat(offsets[:-1].astype(np.uint64), np.diff(offsets))
    one = mix(hashes + place * MULTIPLIER)
    other = one * (one >> np.uint64(32) | np.uint64(1))  # of which no sum follows from the sum of the ones
    total = np.zeros((2, len(hashes) + 1), dtype=np.uint64)
    np.cumsum(one, out=total[0, 1:])
    np.cumsum(other, out=total[1, 1:])
    return np.ascontiguousarray((total[:, offsets[1:]] - total[:, offsets[:-1]]).T)


def shingles(hashes: np.ndarray, offsets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """(values uint64 [n], offsets int64 [rows + 1]): each row's runs of `size` words as sorted distinct hashes.

    A text of fewer words is one run. A run's hash mixes its words'; unequal runs share one with odds of 2^-64.
    """
    counts = np.diff(offsets)
    runs = np.maximum(counts - size + 1, 1)
    ends = np.concatenate([[0], np.cumsum(runs)])
    # The word a run starts at, and how many it has: `size`, or all there are.
    first = np.arange(ends[-1]) - np.repeat(ends[:-1] - offsets[:-1], runs)
    length = np.repeat(np.minimum(counts, size), runs)
    padded = np.append(hashes, np.zeros(size, dtype=np.uint64))
    mixed = np.zeros(ends[-1], dtype=np.uint64)
    for place in range(size):
        following = mix(mixed * MULTIPLIER + padded[first + place])
        mixed = following if counts.min(initial=size) >= size else np.where(place < length, following, mixed)
    for begin, end in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        mixed[begin:end].sort()
    distinct = np.ones(len(mixed), dtype=bool)
    distinct[1:] = mixed[1:] != mixed[:-1]
    distinct[ends[:-1]] = True
    kept = np.add.reduceat(distinct, ends[:-1], dtype=np.int64) if len(runs) else np.zeros(0, dtype=np.int64)
    return mixed[distinct], np.concatenate([[0], np.cumsum(kept)])


def mix(values: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits (the finaliser of SplitMix64, Steele et al. 2014), wrapping around as intended."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)  # in place: less memory to go through
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def _hashes(chunks: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """(64 bits of each word of the chunks in turn uint64 [n], how many each chunk has int64 [chunks])."""
    import pyarrow as pa
    import pyarrow.compute as pc

    beyond = pc.invert(pc.string_is_ascii(chunks))
    mended = [PUNCTUATION.sub(" ", chunk.casefold()) for chunk in chunks.filter(beyond).to_pylist()]
    chunks = pc.replace_with_mask(chunks, beyond, pa.array(mended, pa.string()))
    data = pc.binary_join(pa.ListArray.from_arrays(pa.array([0, len(chunks)], pa.int32()), chunks), " ")[0].as_buffer()
    letters = LETTERS[np.frombuffer(data, dtype=np.uint8)]
    inside = letters != 0
    starts = inside.copy()
    starts[1:] &= ~inside[:-1]
    begins = np.flatnonzero(starts)
    place = np.arange(len(letters)) - np.repeat(np.append(0, begins), np.diff(begins, prepend=0, append=len(letters)))
    # A sum over random values of (letter, place), which is tabulation hashing (Zobrist 1970).
    each = np.where(inside, mix((place << 8 | letters).astype(np.uint64) * MULTIPLIER), np.uint64(0))
    found = np.add.reduceat(each, begins) if len(begins) else np.zeros(0, dtype=np.uint64)
    ends = np.cumsum(pc.binary_length(chunks).to_numpy() + 1, dtype=np.int64)
    return mix(found), np.diff(np.searchsorted(begins, ends), prepend=0)
