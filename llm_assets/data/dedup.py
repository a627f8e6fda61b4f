"""Exact and near duplicates.

MinHash signatures (Broder 1997, by rensa) in bands propose pairs; the exact Jaccard similarity of the two sets of word
n-grams decides, so a false candidate costs time and never a document. Rows are looked at in order of rank, then as they
came; the first of a group stays and every other one names the row it repeats, which itself stays.

Signatures come batch by batch. Some eighty bytes a row stay in memory; bands and n-gram hashes wait on disk.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.config import NearDuplicateConfig
from llm_assets.data.shingles import MULTIPLIER, mix, shingles, text_hashes, word_hashes

if TYPE_CHECKING:
    import pyarrow as pa

BAND_ROWS = 5  # 25 bands of 5 at 125 values: a pair at 0.8 is missed once in 20,000, one at 0.3 is looked at once in 16
LONG_BUCKET = 64
BATCH_ROWS = 1000
REASONS = ("exact_duplicate", "same_start", "near_duplicate")


@dataclass(frozen=True)
class Duplicate:
    """Row `row` is the same as the kept row `of`; `similarity` is 1 for exact ones."""

    row: int
    of: int
    reason: str
    similarity: float


@dataclass(frozen=True)
class DuplicateRows:
    """The same for many rows, as columns in order of `row`: int64, int64, places in REASONS (int8), float32."""

    row: np.ndarray
    of: np.ndarray
    reason: np.ndarray
    similarity: np.ndarray


@dataclass(frozen=True)
class Signatures:
    """What is left of a batch for finding duplicates.

    whole: hash of each text, uint64 [rows, 2]. start: hash of its first letters, 0 where it has fewer, uint64 [rows].
    bands: uint64 [rows, bands]. sets: hashes of its n-grams, sorted, uint64 [n]; sizes: how many each row has.
    """

    whole: np.ndarray
    start: np.ndarray
    bands: np.ndarray
    sets: np.ndarray
    sizes: np.ndarray


def signatures(texts: pa.Array, config: NearDuplicateConfig, seed: int = 0) -> Signatures:
    """The signatures of a column of texts; rows are independent of each other."""
    hashes, offsets = word_hashes(texts)
    whole, start = text_hashes(hashes, offsets), np.zeros(len(texts), dtype=np.uint64)
    if not config.enabled:
        nothing = np.zeros((len(texts), 0), dtype=np.uint64)
        return Signatures(whole, start, nothing, nothing.ravel(), np.zeros(len(texts), dtype=np.int64))
    if config.same_start:
        start = _starts(texts, config.same_start)
    values, ends = shingles(hashes, offsets, config.shingle)
    return Signatures(whole, start, _bands(values, ends, config.num_perm, seed), values, np.diff(ends))


def _starts(texts: pa.Array, size: int) -> np.ndarray:
    """64 bits of the first `size` letters and digits of each text, 0 where it has fewer: uint64 [rows]."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from xxhash import xxh3_64_intdigest

    def letters(column: pa.Array) -> pa.Array:
        return pc.utf8_slice_codeunits(pc.replace_substring_regex(pc.utf8_lower(column), r"[^\pL\pN]+", ""), 0, size)

    texts = pc.fill_null(texts, "")
    found = letters(pc.utf8_slice_codeunits(texts, 0, 2 * size))  # nearly always enough
    short = pc.and_(pc.less(pc.utf8_length(found), size), pc.greater(pc.utf8_length(texts), 2 * size))
    found = pc.replace_with_mask(found, short, letters(texts.filter(short)))
    enough = pc.equal(pc.utf8_length(found), size).to_pylist()
    rows = zip(found.cast(pa.binary()).to_pylist(), enough, strict=True)
    return np.array([max(xxh3_64_intdigest(text), 1) if long else 0 for text, long in rows], dtype=np.uint64)


def find_duplicates(
    texts: Sequence[str | None] | pa.Array,
    config: NearDuplicateConfig,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[Duplicate]:
    """Every row of `texts` to drop, in order, each with the kept row that it repeats."""
    import pyarrow as pa

    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    with tempfile.TemporaryDirectory(prefix="llm-assets-dedup-") as folder:
        index = DuplicateIndex(Path(folder), config)
        for start in range(0, len(column), BATCH_ROWS):
            part = column.slice(start, BATCH_ROWS)
            index.add(signatures(part, config, seed), np.zeros(len(part), dtype=np.int8))
        found = index.duplicates(progress)
    columns = (found.row.tolist(), found.of.tolist(), found.reason.tolist(), found.similarity.tolist())
    return [Duplicate(row, of, REASONS[reason], like) for row, of, reason, like in zip(*columns, strict=True)]


class DuplicateIndex:
    """Takes signatures in the order of the rows, then says which rows repeat which."""

    def __init__(self, folder: Path, config: NearDuplicateConfig) -> None:
        self._config = config
        self._whole: list[np.ndarray] = []
        self._start: list[np.ndarray] = []
        self._rank: list[np.ndarray] = []
        self._sizes: list[np.ndarray] = []
        self._sets = folder / "sets.u64"
        self._bands = [folder / f"band{n}.u64" for n in range(config.num_perm // BAND_ROWS if config.enabled else 0)]
        for path in (self._sets, *self._bands):
            path.touch()

    def add(self, found: Signatures, rank: np.ndarray) -> None:
        """Rows of a lower rank come first, whatever their place: int8 [rows]."""
        self._whole.append(found.whole)
        self._start.append(found.start)
        self._rank.append(rank)
        self._sizes.append(found.sizes.astype(np.int32))
        for path, values in [(self._sets, found.sets), *zip(self._bands, found.bands.T, strict=True)]:
            with path.open("ab") as stream:
                stream.write(values.tobytes())

    def duplicates(self, progress: Progress = no_progress) -> DuplicateRows:
        """Every row to drop, in order."""
        rank = np.concatenate([np.zeros(0, dtype=np.int8), *self._rank])
        order = np.argsort(rank, kind="stable")  # order[place] = row
        whole = np.concatenate([np.zeros((0, 2), dtype=np.uint64), *self._whole])[order]
        start = np.concatenate([np.zeros(0, dtype=np.uint64), *self._start])[order]
        place, of, reason = _exact(whole, start)
        del whole, start
        progress(1, 4, "near duplicates")
        alive = np.ones(len(order), dtype=bool)
        alive[place] = False
        near_place, near_of, similarity = self._near(order, alive, progress)
        # A row that repeats a near duplicate now repeats what that one repeats.
        kept = np.arange(len(order))
        kept[near_place] = near_of
        rows, ofs = order[np.append(place, near_place)], order[np.append(kept[of], near_of)]
        reasons = np.append(reason, np.full(len(near_place), REASONS.index("near_duplicate"), dtype=np.int8))
        likeness = np.append(np.ones(len(place), dtype=np.float32), similarity)
        by_row = np.argsort(rows)
        return DuplicateRows(rows[by_row], ofs[by_row], reasons[by_row], likeness[by_row])

    def _near(
        self, order: np.ndarray, alive: np.ndarray, progress: Progress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(row, row it repeats, similarity) by place in `order`: each row against kept ones it shares a band with."""
        rows, buckets = self._buckets(order, alive)
        progress(3, 4, "comparing")
        found, of, similarity = array("q"), array("q"), array("f")
        ends = np.flatnonzero(np.append(rows[1:] != rows[:-1], True)[: len(rows)]) + 1
        offsets = np.concatenate([[0], np.cumsum(np.concatenate([[], *self._sizes]), dtype=np.int64)])
        members: dict[int, list[int]] = {}
        with self._sets.open("rb") as stream:

            @lru_cache(maxsize=20_000)
            def grams(place: int) -> np.ndarray:
                row = order[place]
                begin, end = int(offsets[row]) * 8, int(offsets[row + 1]) * 8
                return np.frombuffer(os.pread(stream.fileno(), end - begin, begin), dtype=np.uint64)

            begin = 0
            for number, end in enumerate(ends.tolist()):
                place, keys = int(rows[begin]), buckets[begin:end].tolist()
                begin = end
                best, other = _similar(place, keys, members, grams, self._config.threshold)
                if other >= 0:
                    found.append(place)
                    of.append(other)
                    similarity.append(best)
                else:
                    for key in keys:
                        others = members.setdefault(key, [])
                        if len(others) < LONG_BUCKET:
                            others.append(place)
                if number % 1000 == 0:
                    progress(3 + number / len(ends), 4, "comparing")
        return np.array(found, dtype=np.int64), np.array(of, dtype=np.int64), np.array(similarity, dtype=np.float32)

    def _buckets(self, order: np.ndarray, alive: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(place in `order`, bucket) of every row that is not alone in the bucket of a band, sorted by place."""
        places, buckets, count = [np.zeros(0, dtype=np.uint32)], [np.zeros(0, dtype=np.uint64)], 0
        living = np.flatnonzero(alive)
        for path in self._bands:
            keys = np.fromfile(path, dtype=np.uint64)[order[living]]
            by_key = np.argsort(keys, kind="stable")
            new = np.ones(len(keys), dtype=bool)
            new[1:] = keys[by_key][1:] != keys[by_key][:-1]
            group = np.cumsum(new) - 1
            shared = np.bincount(group)[group] > 1
            places.append(living[by_key[shared]].astype(np.uint32))
            buckets.append((group[shared] + count).astype(np.uint64))
            count += len(keys)
        rows, numbers = np.concatenate(places), np.concatenate(buckets)
        by_place = np.argsort(rows, kind="stable")
        return rows[by_place], numbers[by_place]


def _exact(whole: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, row it repeats, place in REASONS) where texts are equal but for case, punctuation and space, or equal in
    their first letters and digits (`start` not 0).
    """
    same, begun = _firsts(whole[:, 0], whole[:, 1]), _firsts(start)
    places = np.arange(len(start))
    by_start = (start != 0) & (begun != places)
    by_text = (same != places) & ~by_start[same]
    found = np.flatnonzero(by_start | by_text)
    return found, np.where(by_text, same, begun)[found], np.where(by_text, 0, 1)[found].astype(np.int8)


def _firsts(*keys: np.ndarray) -> np.ndarray:
    """For each row the first row with the same keys: int64 [rows]."""
    order = np.lexsort(keys)  # stable: equal rows stay in order
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in keys])
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    return first


def _similar(
    place: int,
    keys: Iterable[int],
    members: Mapping[int, Sequence[int]],
    grams: Callable[[int], np.ndarray],
    threshold: float,
) -> tuple[float, int]:
    """(similarity, row) of the first member of the buckets `keys` that is at the threshold or above; else (0, -1)."""
    mine, seen = grams(place), set[int]()
    size = mine.size
    for key in keys:
        for other in members.get(key, ()):
            if other in seen:
                continue
            seen.add(other)
            theirs = grams(other)
            if min(size, theirs.size) < threshold * max(size, theirs.size):
                continue
            both = np.concatenate([mine, theirs])
            both.sort(kind="stable")  # which merges two sorted runs
            shared = int(np.count_nonzero(both[1:] == both[:-1]))
            similarity = shared / (size + theirs.size - shared)
            if similarity >= threshold:
                return similarity, other
    return 0.0, -1


def _bands(values: np.ndarray, offsets: np.ndarray, num_perm: int, seed: int) -> np.ndarray:
    """MinHash signatures in bands of BAND_ROWS values, each hashed: uint64 [rows, num_perm // BAND_ROWS]."""
    from rensa import RMinHash

    rows, count = len(offsets) - 1, num_perm // BAND_ROWS
    if not rows:
        return np.zeros((0, count), dtype=np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(values, offsets.astype(np.uint64), num_perm, seed)
    flat = np.fromiter(chain.from_iterable(matrix.to_rows()), dtype=np.uint32, count=rows * num_perm)
    parts = flat.reshape(rows, num_perm)[:, : count * BAND_ROWS].reshape(rows, count, BAND_ROWS)
    bands = np.zeros((rows, count), dtype=np.uint64)
    for place in range(BAND_ROWS):
        bands = mix(bands * MULTIPLIER + parts[:, :, place].astype(np.uint64))
    return bands
