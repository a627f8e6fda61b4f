"""Pairs that share a MinHash band, decided by the exact Jaccard similarity of their sets of n-grams.

Rows are looked at in their order; a row that is like a kept one before it goes. Of a bucket's rows the first is known
by its place alone, so a row that is first wherever it is not alone costs nothing, and neither does the last of a bucket
need remembering: most buckets are pairs.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

import numpy as np

from llm_assets.artifacts import Progress

BLOCK = 4096  # rows that are looked up together
LONG_BUCKET = 64  # kept rows of a bucket that a row is compared with


@dataclass(frozen=True)
class Shared:
    """The buckets with several rows. heads: the first row of each, int64 [buckets].

    Every other row in them, sorted by row and band: row uint32 [n], bucket int64 [n], whether it is the last there.
    """

    heads: np.ndarray
    rows: np.ndarray
    buckets: np.ndarray
    last: np.ndarray


def shared_buckets(bands: Iterable[np.ndarray], rows: np.ndarray) -> Shared:
    """bands: a column of keys each, uint64 [rows], read one at a time; rows: what stands at each key, ascending."""
    heads, places = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.uint32)]
    buckets, last, count = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=bool)], 0
    for keys in bands:
        by_key = np.argsort(keys, kind="stable")
        sorted_keys = keys[by_key]
        new = np.ones(len(keys) + 1, dtype=bool)
        new[1:-1] = sorted_keys[1:] != sorted_keys[:-1]
        follows = np.flatnonzero(~new[:-1])
        leads = follows[new[follows - 1]] - 1  # each bucket's first, right before its second
        heads.append(rows[by_key[leads]])
        places.append(rows[by_key[follows]].astype(np.uint32))
        buckets.append(np.searchsorted(leads, follows) - 1 + count)
        last.append(new[follows + 1])
        count += len(leads)
    place = np.concatenate(places)
    order = np.argsort(place, kind="stable")
    return Shared(np.concatenate(heads), place[order], np.concatenate(buckets)[order], np.concatenate(last)[order])


def near_duplicates(
    shared: Shared, grams: Callable[[int], np.ndarray], count: int, threshold: float, progress: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, kept row it is like, similarity) of every row of `count` that goes. grams: a row's hashes, sorted."""
    found, of, similarity = array("q"), array("q"), array("f")
    gone = bytearray(count)
    middle: dict[int, list[int]] = {}  # kept rows of a bucket, neither first nor last
    ends = np.flatnonzero(np.append(shared.rows[1:] != shared.rows[:-1], True)[: len(shared.rows)]) + 1
    for number, (place, keys, heads, last) in enumerate(_by_row(shared, ends)):
        like, other = _similar(grams(place), _candidates(keys, heads, gone, middle), grams, threshold)
        if other >= 0:
            gone[place] = 1
            found.append(place)
            of.append(other)
            similarity.append(like)
        else:
            for key, head, done in zip(keys, heads, last, strict=True):
                if not done:
                    others = middle.setdefault(key, [])
                    if len(others) + (not gone[head]) < LONG_BUCKET:
                        others.append(place)
        if number % 1000 == 0:
            progress(number, len(ends), "comparing")
    return np.array(found, dtype=np.int64), np.array(of, dtype=np.int64), np.array(similarity, dtype=np.float32)


def _by_row(shared: Shared, ends: np.ndarray) -> Iterator[tuple[int, list[int], list[int], list[bool]]]:
    """(row, its buckets, the first row of each, whether it is the last of each); ends: where each row's buckets end."""
    for start in range(0, len(ends), BLOCK):
        block, first = ends[start : start + BLOCK], int(ends[start - 1]) if start else 0
        keys = shared.buckets[first : block[-1]]
        heads, last = shared.heads[keys].tolist(), shared.last[first : block[-1]].tolist()
        places, many = shared.rows[block - 1].tolist(), keys.tolist()
        begin = 0
        for place, end in zip(places, (block - first).tolist(), strict=True):
            yield place, many[begin:end], heads[begin:end], last[begin:end]
            begin = end


def reader(stream: BinaryIO, offsets: np.ndarray, rows: np.ndarray) -> Callable[[int], np.ndarray]:
    """The n-gram hashes of the row at a place: in `stream`, where row r has offsets[r]:offsets[r + 1]."""

    @lru_cache(maxsize=20_000)
    def grams(place: int) -> np.ndarray:
        row = rows[place]
        begin, end = offsets[row : row + 2].tolist()
        return np.frombuffer(os.pread(stream.fileno(), (end - begin) * 8, begin * 8), dtype=np.uint64)

    return grams


def _candidates(
    keys: Sequence[int], heads: Sequence[int], gone: bytearray, middle: dict[int, list[int]]
) -> Iterator[int]:
    """Kept rows of the buckets, once each, in the order of the buckets and then of the rows."""
    seen: set[int] = set()
    for key, head in zip(keys, heads, strict=True):
        if not gone[head] and head not in seen:
            seen.add(head)
            yield head
        for other in middle.get(key, ()):
            if other not in seen:
                seen.add(other)
                yield other


def _similar(
    mine: np.ndarray, candidates: Iterable[int], grams: Callable[[int], np.ndarray], threshold: float
) -> tuple[float, int]:
    """(similarity, row) of the first candidate at the threshold or above; (0, -1) when there is none."""
    for other in candidates:
        theirs = grams(other)
        if min(mine.size, theirs.size) < threshold * max(mine.size, theirs.size):
            continue
        both = np.concatenate([mine, theirs])
        both.sort(kind="stable")  # which merges two sorted runs
        shared = int(np.count_nonzero(both[1:] == both[:-1]))
        similarity = shared / (mine.size + theirs.size - shared)
        if similarity >= threshold:
            return similarity, other
    return 0.0, -1
