"""How much of a text is repeated n-grams (Rae et al. 2021, table A1), for a column of texts at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from llm_assets.data.words import Words

BUCKETS = 256


def top_share(words: Words, limits: Mapping[int, float], characters: np.ndarray) -> dict[int, np.ndarray]:
    """Share of a text's characters in its most frequent n-gram (the first of several), by n: float64 [rows].

    N-grams are first counted in a few buckets, which bounds the share from above. Only texts whose bound is above the
    limit are counted exactly; the others get that bound.
    """
    total, rows = np.concatenate([[0], np.cumsum(words.lengths)]), words.rows()
    shares = {}
    for size, (start, hashes) in zip(sorted(limits), words.ngrams(sorted(limits)), strict=True):
        length = total[start + size] - total[start] + size - 1
        bucket = rows[start] * BUCKETS + (hashes & np.uint64(BUCKETS - 1)).astype(np.int64)
        sums = np.bincount(bucket, weights=length, minlength=BUCKETS * len(words.counts))
        share = shares[size] = sums.reshape(-1, BUCKETS).max(axis=1, initial=0) / characters
        doubtful = share > limits[size]
        if doubtful.any():
            share[doubtful] = _top_share(words.where(doubtful), size, characters[doubtful])
    return shares


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


def repeated_share(words: Words, limits: Mapping[int, float], characters: np.ndarray) -> dict[int, np.ndarray]:
    """Share of a text's characters in n-grams that occurred before and do not overlap, by n: float64 [rows].

    What any n can cover is bounded by what the shortest covers, overlaps included. Only texts whose bound is above the
    lowest limit are counted through; the others get that bound, which breaks no limit.
    """
    if not limits:
        return {}
    shortest = min(limits)
    ((start, hashes),) = words.ngrams([shortest])
    order = np.argsort(hashes, kind="stable")
    again = order[1:][hashes[order][1:] == hashes[order][:-1]]
    covered = np.zeros(len(words.values) + 1, dtype=np.int64)
    np.add.at(covered, start[again], 1)
    np.add.at(covered, start[again] + shortest, -1)
    bound = words.per_row(words.lengths * (np.cumsum(covered)[:-1] > 0)) / characters
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
