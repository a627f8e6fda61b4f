"""Exact and near duplicates.

MinHash bands propose pairs; the exact Jaccard similarity of the two sets of word n-grams decides, so a false candidate
costs time and never a document. Rows are looked at in order of rank, then as they came; the first of a group stays and
every other one names the row it repeats, which itself stays.

Signatures come batch by batch and wait on disk. Judging sorts one column of them at a time: some seventy bytes a row.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.config import NearDuplicateConfig
from llm_assets.data.near_duplicates import near_duplicates, reader, shared_buckets
from llm_assets.data.signatures import BAND_ROWS, Signatures, signatures

if TYPE_CHECKING:
    import pyarrow as pa

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
    """Takes signatures in the order of the rows, then says which rows repeat which. What it takes lies in `folder`."""

    def __init__(self, folder: Path, config: NearDuplicateConfig) -> None:
        self._folder, self._config = folder, config
        self._bands = [f"band{n}" for n in range(config.num_perm // BAND_ROWS if config.enabled else 0)]
        for name in ("whole", "start", "rank", "sizes", "sets", *self._bands):
            (folder / name).touch()

    def add(self, found: Signatures, rank: np.ndarray) -> None:
        """Rows of a lower rank come first, whatever their place: int8 [rows]."""
        columns = {
            "whole": found.whole, "start": found.start, "rank": rank.astype(np.int8), "sets": found.sets,
            "sizes": found.sizes.astype(np.int32), **dict(zip(self._bands, found.bands.T, strict=True)),
        }  # fmt: skip
        for name, values in columns.items():
            with (self._folder / name).open("ab") as stream:
                stream.write(values.tobytes())

    def duplicates(self, progress: Progress = no_progress) -> DuplicateRows:
        """Every row to drop, in order."""
        order = np.argsort(self._read("rank", np.int8), kind="stable")  # order[place] = row
        place, of, reason = self._exact(order)
        progress(1, 4, "near duplicates")
        alive = np.ones(len(order), dtype=bool)
        alive[place] = False
        near_place, near_of, similarity = self._near(order, np.flatnonzero(alive), progress)
        # A row that repeats a near duplicate now repeats what that one repeats.
        kept = np.arange(len(order))
        kept[near_place] = near_of
        rows, ofs = order[np.append(place, near_place)], order[np.append(kept[of], near_of)]
        reasons = np.append(reason, np.full(len(near_place), REASONS.index("near_duplicate"), dtype=np.int8))
        likeness = np.append(np.ones(len(place), dtype=np.float32), similarity)
        by_row = np.argsort(rows)
        return DuplicateRows(rows[by_row], ofs[by_row], reasons[by_row], likeness[by_row])

    def _read(self, name: str, dtype: type) -> np.ndarray:
        return np.fromfile(self._folder / name, dtype=dtype)

    def _exact(self, order: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(place, place it repeats, place in REASONS) where texts are equal but for case, punctuation and space, or
        equal in their first letters and digits (start not 0).
        """
        same = _firsts(*self._read("whole", np.uint64).reshape(-1, 2)[order].T)
        start = self._read("start", np.uint64)[order]
        begun, places = _firsts(start), np.arange(len(order))
        by_start = (start != 0) & (begun != places)
        by_text = (same != places) & ~by_start[same]
        found = np.flatnonzero(by_start | by_text)
        return found, np.where(by_text, same, begun)[found], np.where(by_text, 0, 1)[found].astype(np.int8)

    def _near(
        self, order: np.ndarray, alive: np.ndarray, progress: Progress
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(place, place it repeats, similarity): each row against kept ones it shares a band with."""
        rows = order[alive]
        shared = shared_buckets((self._read(name, np.uint64)[rows] for name in self._bands), alive)
        offsets = np.concatenate([[0], np.cumsum(self._read("sizes", np.int32), dtype=np.int64)])

        def comparing(done: float, total: float, note: str = "") -> None:
            progress(3 + done / total, 4, note)

        with (self._folder / "sets").open("rb") as stream:
            grams = reader(stream, offsets, order)
            return near_duplicates(shared, grams, len(order), self._config.threshold, comparing)


def _firsts(*keys: np.ndarray) -> np.ndarray:
    """For each row the first row with the same keys: int64 [rows]."""
    order = np.lexsort(keys)  # stable: equal rows stay in order
    new = np.ones(len(order), dtype=bool)
    new[1:] = np.logical_or.reduce([key[order][1:] != key[order][:-1] for key in keys])
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    return first
