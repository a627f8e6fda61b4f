"""Exact counts over a stream in bounded memory: of texts by a 64-bit hash, and of numbers.

What comes out depends on the values alone, never on how a table was cut into batches.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

HELD = 1 << 20  # distinct keys of a column in memory; more go to disk
CANDIDATES = 8192  # texts held as possibly frequent
PARTS = 256
TEXT_LIMIT = 200  # characters of a text that is shown
PAIR = np.dtype([("key", "<u8"), ("count", "<i8")])


@dataclass(frozen=True)
class Counted:
    """distinct: different keys; once: those that came one time; frequent: (text, count), the most frequent first.

    complete: `frequent` names every key. Otherwise it names each that came in more than one of CANDIDATES + 1 rows.
    """

    distinct: int
    once: int
    frequent: list[tuple[str, int]]
    complete: bool


class Counts:
    """Counts of 64-bit keys, exact (but for two keys that are one, odds of about 10^-6 at six million keys).

    The texts of frequent keys are kept by mergeable summaries (Agarwal et al., PODS 2012): no key that came in more
    than 1 of CANDIDATES + 1 rows is ever dropped, and the count that is reported is the exact one.
    """

    def __init__(self, held: int = HELD, candidates: int = CANDIDATES) -> None:
        self.held, self.candidates = held, candidates
        self.keys, self.counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        self.pending: list[tuple[np.ndarray, np.ndarray]] = []
        self.waiting = self.rows = 0
        self.likely_keys, self.likely_counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        self.likely_texts: Any = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None

    def add(self, keys: np.ndarray, counts: np.ndarray, texts: pa.Array | None = None) -> None:
        """keys: uint64 [n], no two alike; counts: int64 [n]; texts: string [n], what the keys stand for."""
        if not keys.size:
            return
        self.rows += int(counts.sum())
        self.pending.append((keys, counts))
        self.waiting += keys.size
        if self.waiting > max(self.keys.size, 1 << 17):
            self._merge()
        if texts is not None:
            self._keep_likely(keys, counts, texts)

    def finish(self) -> Counted:
        """The result; the disk is freed."""
        self._merge()
        parts = [(self.keys, self.counts)] if self.folder is None else self._parts()
        wanted = self.likely_keys
        exact = np.zeros(wanted.size, np.int64)
        distinct = once = 0
        for keys, counts in parts:
            distinct += keys.size
            once += int((counts == 1).sum())
            if keys.size and wanted.size:
                places = np.minimum(np.searchsorted(keys, wanted), keys.size - 1)
                hit = keys[places] == wanted
                exact[hit] = counts[places[hit]]
        if self.folder is not None:
            self.folder.cleanup()
        complete = distinct <= self.candidates
        sure = exact > (0 if complete else self.rows // (self.candidates + 1))
        texts = [] if self.likely_texts is None else self.likely_texts.filter(sure).to_pylist()
        pairs = zip(texts, exact[sure].tolist(), strict=True)
        return Counted(distinct, once, sorted(pairs, key=lambda pair: (-pair[1], pair[0])), complete)

    def _merge(self) -> None:
        if self.pending:
            keys = np.concatenate([self.keys, *(keys for keys, _ in self.pending)])
            counts = np.concatenate([self.counts, *(counts for _, counts in self.pending)])
            self.keys, self.counts = _sum_by_key(keys, counts)
            self.pending, self.waiting = [], 0
        if self.keys.size > self.held:
            self._spill()

    def _spill(self) -> None:
        self.folder = self.folder or tempfile.TemporaryDirectory(prefix="llm-assets-profile-")
        pairs = np.empty(self.keys.size, PAIR)
        pairs["key"], pairs["count"] = self.keys, self.counts
        edges = np.searchsorted(self.keys, np.arange(1, PARTS, dtype=np.uint64) << np.uint64(56))
        for part, some in enumerate(np.split(pairs, edges)):
            with (Path(self.folder.name) / str(part)).open("ab") as stream:
                stream.write(some.tobytes())
        self.keys, self.counts = np.empty(0, np.uint64), np.empty(0, np.int64)

    def _parts(self) -> list[tuple[np.ndarray, np.ndarray]] | Any:
        self._spill()
        assert self.folder is not None
        for part in range(PARTS):
            pairs = np.fromfile(Path(self.folder.name) / str(part), PAIR)
            yield _sum_by_key(pairs["key"], pairs["count"])

    def _keep_likely(self, keys: np.ndarray, counts: np.ndarray, texts: pa.Array) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        all_keys = np.concatenate([self.likely_keys, keys])
        unique, first, place = np.unique(all_keys, return_index=True, return_inverse=True)
        sums = np.bincount(place, np.concatenate([self.likely_counts, counts]), unique.size).astype(np.int64)
        if unique.size > self.candidates:
            sums -= np.partition(sums, unique.size - self.candidates - 1)[unique.size - self.candidates - 1]
            stays = sums > 0
            unique, first, sums = unique[stays], first[stays], sums[stays]
        order = np.argsort(first, kind="stable")
        old = int((first < self.likely_keys.size).sum())
        new = texts.take(pa.array(first[order][old:] - self.likely_keys.size))
        new = pc.utf8_slice_codeunits(new, 0, TEXT_LIMIT)
        kept = [] if self.likely_texts is None else [self.likely_texts.take(pa.array(first[order][:old]))]
        self.likely_texts = pa.concat_arrays([*kept, new])
        self.likely_keys, self.likely_counts = unique[order], sums[order]


class Numbers:
    """Distinct numbers with their counts; above `held` of them, their last bits go (truncation towards 0).

    Truncating drops four bits of the mantissa at a time, so what is left depends on the values alone. With 2^18
    values held, a number loses less than one part in 10^5 unless the column spans many orders of magnitude.
    """

    def __init__(self, held: int = 1 << 18) -> None:
        self.held, self.dropped, self.waiting = held, 0, 0
        self.values, self.counts = np.empty(0), np.empty(0, np.int64)
        self.pending: list[tuple[np.ndarray, np.ndarray]] = []
        self.low, self.high = np.inf, -np.inf

    def add(self, values: np.ndarray, counts: np.ndarray) -> None:
        """values: float64 [n], finite; counts: int64 [n]."""
        if not values.size:
            return
        self.low, self.high = min(self.low, float(values.min())), max(self.high, float(values.max()))
        self.pending.append((_truncate(values + 0.0, self.dropped), counts))  # + 0.0: one zero
        self.waiting += values.size
        if self.waiting > max(self.values.size, 1 << 16):
            self.merge()

    def merge(self) -> None:
        """Bring what was added into `values` (ascending) and `counts`."""
        values = np.concatenate([self.values, *(values for values, _ in self.pending)])
        counts = np.concatenate([self.counts, *(counts for _, counts in self.pending)])
        self.pending, self.waiting = [], 0
        self.values, self.counts = _sum_by_key(values, counts)
        while self.values.size > self.held:
            self.dropped += 4
            self.values, self.counts = _sum_by_key(_truncate(self.values, self.dropped), self.counts)

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The smallest value that at least each share of the rows do not exceed."""
        running = np.cumsum(self.counts)
        places = np.searchsorted(running, np.asarray(shares) * running[-1])
        return [float(self.values[min(int(place), self.values.size - 1)]) for place in places]


def _truncate(values: np.ndarray, bits: int) -> np.ndarray:
    if not bits:
        return values
    return ((values.view(np.uint64) >> np.uint64(bits)) << np.uint64(bits)).view(np.float64) + 0.0


def _sum_by_key(keys: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ascending distinct keys with the sums of their counts."""
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if keys.size else np.empty(0, np.int64)
    return keys[starts], np.add.reduceat(counts, starts) if keys.size else counts
