"""Exact and near duplicates.

Earlier rows win. MinHash signatures (rensa) in bands propose pairs; the exact Jaccard similarity of the two sets of
word shingles decides, so a false candidate costs time and never a document.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.config import NearDuplicateConfig

PUNCTUATION = re.compile(r"[\W_]+")
BAND_ROWS = 5  # 25 bands of 5 at 125 values: a pair at 0.8 is missed once in 20,000, one at 0.3 is looked at once in 16
LONG_BUCKET = 64
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Duplicate:
    """Row `row` is the same as the kept row `of`; `similarity` is 1 for exact ones."""

    row: int
    of: int
    reason: str
    similarity: float


def find_duplicates(
    texts: Sequence[str], config: NearDuplicateConfig, seed: int = 0, progress: Progress = no_progress
) -> list[Duplicate]:
    """Every row to drop, in order, each with the kept row that it repeats."""
    plain = [PUNCTUATION.sub(" ", text.casefold()).strip() for text in texts]
    exact = _exact(plain, config.same_start if config.enabled else 0)
    dropped = {duplicate.row for duplicate in exact}
    progress(1, 4, "near duplicates")
    if not config.enabled:
        return exact
    rows = [row for row in range(len(texts)) if row not in dropped]
    near = _near([plain[row] for row in rows], config, seed, progress)
    moved = [Duplicate(rows[item.row], rows[item.of], item.reason, item.similarity) for item in near]
    # A row that repeats a near duplicate now repeats what that one repeats.
    kept_by = {item.row: item.of for item in moved}
    exact = [Duplicate(d.row, kept_by.get(d.of, d.of), d.reason, d.similarity) for d in exact]
    return sorted(exact + moved, key=lambda item: item.row)


def _exact(plain: Sequence[str], start: int) -> list[Duplicate]:
    """Equal but for case, punctuation and space; or, with `start`, equal in so many first letters and digits."""
    whole: dict[str, int] = {}
    begun: dict[str, int] = {}
    found = []
    for row, text in enumerate(plain):
        beginning = text.replace(" ", "")[:start] if start else text
        if text in whole:
            found.append(Duplicate(row, whole[text], "exact_duplicate", 1.0))
        elif len(beginning) == start and start and beginning in begun:
            found.append(Duplicate(row, begun[beginning], "same_start", 1.0))
        else:
            whole[text] = begun[beginning] = row
    return found


def _near(plain: Sequence[str], config: NearDuplicateConfig, seed: int, progress: Progress) -> list[Duplicate]:
    if not plain:
        return []
    sets = _hashes(plain, config.shingle)
    progress(2, 4, "signatures")
    bands = _bands(sets, config.num_perm, seed)
    progress(3, 4, "comparing")
    buckets: list[dict[int, list[int]]] = [{} for _ in range(bands.shape[1])]
    found: list[Duplicate] = []
    for row in range(len(plain)):
        mine, keys = sets[row], bands[row].tolist()
        lists = [bucket.get(key) for bucket, key in zip(buckets, keys, strict=True)]
        candidates = dict.fromkeys(other for others in lists if others for other in others)
        best, best_row = 0.0, -1
        for other in candidates:
            theirs = sets[other]
            if min(mine.size, theirs.size) < config.threshold * max(mine.size, theirs.size):
                continue
            shared = np.intersect1d(mine, theirs, assume_unique=True).size
            similarity = shared / (mine.size + theirs.size - shared)
            if similarity > best:
                best, best_row = similarity, other
            if similarity >= config.threshold:
                break
        if best >= config.threshold:
            found.append(Duplicate(row, best_row, "near_duplicate", best))
            continue
        for bucket, key, others in zip(buckets, keys, lists, strict=True):
            if others is None:
                bucket[key] = [row]
            elif len(others) < LONG_BUCKET:
                others.append(row)
        if row % 1000 == 0:
            progress(3 + row / len(plain), 4, "comparing")
    progress(4, 4, "")
    return found


def _hashes(texts: Sequence[str], size: int) -> list[np.ndarray]:
    """Each text's shingles (runs of `size` words; a shorter text is one shingle) as sorted unique hashes, uint64 [n].

    Words are hashed once each; a shingle's hash mixes its words'. Two unequal shingles share a hash with odds of 2^-64.
    """
    known: dict[str, int] = {}
    sets = []
    for text in texts:
        words = text.split()
        for word in words:
            if word not in known:
                known[word] = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        values = np.fromiter((known[word] for word in words), dtype=np.uint64, count=len(words))
        run = min(size, max(len(words), 1))
        mixed = np.zeros(max(len(words) - run + 1, 1), dtype=np.uint64)
        for place in range(min(run, len(words))):
            mixed = _mix(mixed * MULTIPLIER + values[place : place + mixed.size])
        sets.append(np.unique(mixed))
    return sets


def _mix(values: np.ndarray) -> np.ndarray:
    """A bijection of 64 bits (the finaliser of SplitMix64, Steele et al. 2014), wrapping around as intended."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _bands(sets: Sequence[np.ndarray], num_perm: int, seed: int) -> np.ndarray:
    """MinHash signatures in bands of BAND_ROWS values, each hashed: uint64 [rows, num_perm // BAND_ROWS]."""
    from rensa import RMinHash

    count = num_perm // BAND_ROWS
    offsets = np.concatenate([[0], np.cumsum([values.size for values in sets])]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(sets), offsets, num_perm, seed)
    signatures = np.asarray(matrix.to_rows(), dtype=np.uint32)[:, : count * BAND_ROWS].astype(np.uint64)
    parts = signatures.reshape(len(sets), count, BAND_ROWS)
    bands = np.zeros((len(sets), count), dtype=np.uint64)
    for place in range(BAND_ROWS):
        bands = _mix(bands * MULTIPLIER + parts[:, :, place])
    return bands
