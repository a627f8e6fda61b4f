"""How much of a text is repeated n-grams (Rae et al. 2021, table A1), for a column of texts at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from llm_assets.data.words import Words

BUCKETS = 256


def shares_of_ngrams(
    words: Words, top: Mapping[int, float], repeated: Mapping[int, float], characters: np.ndarray
) -> tuple[dict[int, np.ndarray], dict[int, np.ndarray]]:
    """By n, float64 [rows]: the share of a text's characters in its most frequent n-gram (the first of several), and in
    n-grams that occurred before and do not overlap.

    top, repeated: limits by n. Both shares are first bounded from above. Only texts whose bound is above a limit are
    counted through; the others get the bound, which breaks no limit.
    """
    tops: dict[int, np.ndarray] = {}
    again: dict[int, np.ndarray] = {}
    sizes = sorted({*top, *sorted(repeated)[:1]})
    for size, (start, hashes) in zip(sizes, words.ngrams(sizes), strict=True):
        if size in top:
            tops[size] = _top_bound(words, size, start, hashes) / characters
            if (doubtful := tops[size] > top[size]).any():
                tops[size][doubtful] = _top_share(words.where(doubtful), size, characters[doubtful])
        if size == min(repeated, default=0):
            bound = _repeated_bound(words, size, start[_again(hashes)]) / characters
            again = _repeated_shares(words, repeated, bound, characters)
    return tops, again


def _top_bound(words: Words, size: int, start: np.ndarray, hashes: np.ndarray) -> np.ndarray:
    """Characters in the fullest of a few buckets of n-grams, by row."""
    total = np.concatenate([[0], np.cumsum(words.lengths)])
    length = total[start + size] - total[start] + size - 1
    bucket = words.rows()[start] * BUCKETS + (hashes & np.uint64(BUCKETS - 1)).astype(np.int64)
    sums = np.bincount(bucket, weights=length, minlength=BUCKETS * len(words.counts))
    return np.asarray(sums.reshape(-1, BUCKETS).max(axis=1, initial=0))


def _top_share(words: Words, size: int, characters: np.ndarray) -> np.ndarray:
    ((start, hashes),) = words.ngrams([size])
    order = np.argsort(hashes, kind="stable")
    new = np.ones(len(order), dtype=bool)
    new[1:] = hashes[order][1:] != hashes[order][:-1]
    begins = np.flatnonzero(new)
    counts = np.diff(np.append(begins, len(order)))
    several = counts > 1
    first, counts = start[order[begins[several]]], counts[several]
    length = np.concatenate([[0], np.cumsum(words.lengths)])
    rows = np.searchsorted(words.offsets, first, side="right") - 1
    # A text without any repeated one has its first as the most frequent; later rows of the sort overwrite earlier.
    best, times = words.offsets[:-1].copy(), np.ones(len(words.counts), dtype=np.int64)
    ascending = np.lexsort((-first, counts))
    best[rows[ascending]], times[rows[ascending]] = first[ascending], counts[ascending]
    ends = np.minimum(best + size, len(words.values))
    share = (length[ends] - length[best] + size - 1) * times / characters
    return np.where(words.counts >= size, share, 0.0)


def _again(values: np.ndarray) -> np.ndarray:
    """The places whose value stands at a place before: int64, in no order. Sorts only what shares its first bits."""
    places, bits = np.arange(len(values), dtype=np.int32), len(values).bit_length() + 2
    key = (values >> np.uint64(64 - bits)).astype(np.int32)
    last = np.zeros(2**bits, dtype=np.int32)
    last[key] = places
    several = np.zeros(2**bits, dtype=bool)
    several[key[last[key] != places]] = True
    some = np.flatnonzero(several[key])
    order = some[np.argsort(values[some], kind="stable")]
    return order[1:][values[order[1:]] == values[order[:-1]]]


def _repeated_bound(words: Words, size: int, start: np.ndarray) -> np.ndarray:
    """Characters that the n-grams at `start` cover, by row: what longer ones cover is among them."""
    covered = np.zeros(len(words.values) + 1, dtype=np.int64)
    np.add.at(covered, start, 1)
    np.add.at(covered, start + size, -1)
    return words.per_row(words.lengths * (np.cumsum(covered)[:-1] > 0))


def _repeated_shares(
    words: Words, limits: Mapping[int, float], bound: np.ndarray, characters: np.ndarray
) -> dict[int, np.ndarray]:
    shares = {size: bound.copy() for size in limits}
    for row in np.flatnonzero(bound > min(limits.values())).tolist():
        begin, end = words.offsets[row], words.offsets[row + 1]
        text = Words(words.values[begin:end], np.array([0, end - begin]))
        length = np.concatenate([[0], np.cumsum(text.lengths)]).tolist()
        for size, (_, ngrams) in zip(sorted(limits), text.ngrams(sorted(limits)), strict=True):
            shares[size][row] = _repeated(ngrams.tolist(), size, length) / characters[row]
    return shares


def _repeated(ngrams: list[int], size: int, length: list[int]) -> int:
    """Characters in n-grams seen before, going on behind each one found."""
    seen: set[int] = set()
    found = place = 0
    while place < len(ngrams):
        if ngrams[place] in seen:
            found += length[place + size] - length[place]
            place += size
        else:
            seen.add(ngrams[place])
            place += 1
    return found
