"""Contaminated rows of a corpus, whatever the number of evaluation texts, in bounded memory.

Where what is to be looked up of the evaluation texts fits into memory, the corpus is held against it as it is read.
Otherwise both sides are cut into the same ranges of hashes on disk and joined range by range (the hash join of
Kitsuregawa et al. 1983); of the corpus only what a bitmap of the other side lets through is written. The pairs that
are found are cut into ranges of rows, and compared when those rows are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.config import DecontaminateConfig
from llm_assets.data.decontaminate import MOST, contained, index_of, overlap, pairs_of, runs
from llm_assets.data.evaluation_families import Families
from llm_assets.data.evaluation_texts import Evaluation, looked_up, ngrams_of, rarest_ngrams

if TYPE_CHECKING:
    import pyarrow as pa

    Rows = Callable[[], Iterable[tuple[np.ndarray, pa.Array]]]  # numbers (ascending) and texts, the same each time

BITMAP_BITS = 30  # 128 MB; lets every twelfth other hash through at 90 million of them
RECORD = np.dtype([("hash", "<u8"), ("of", "<u4")])
PAIR = np.dtype("<u8")  # row << 32 | evaluation text


@dataclass(frozen=True)
class Contaminated:
    """rows: ascending, int64; shares: float64; owners: the evaluation text of each, int64."""

    rows: np.ndarray
    shares: np.ndarray
    owners: np.ndarray


def contaminated(
    rows: Rows, evaluation: Evaluation, config: DecontaminateConfig, folder: Path, most: int = MOST
) -> Contaminated:
    """The rows that hold `threshold` or more of the n-grams of an evaluation text, and of which text most.

    At most `most` hashes or pairs are in memory together, what a batch has aside; the rest is put into `folder`.
    """
    entries = int(looked_up(evaluation, config.threshold).sum())
    held = _in_memory if entries <= most else _joined
    found = [(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.int64))]
    for numbers, share, best in held(rows, evaluation, config, folder, most, entries):
        over = (best >= 0) & (share >= config.threshold)
        found.append((numbers[over], share[over], best[over]))
    return Contaminated(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


Held = Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]


def _in_memory(rows: Rows, evaluation: Evaluation, config: DecontaminateConfig, *_: object) -> Held:
    index, families = index_of(rarest_ngrams(evaluation, config.threshold)), Families(evaluation)
    for numbers, texts in rows():
        yield numbers, *contained(texts, evaluation, families, index, config)


def _joined(
    rows: Rows, evaluation: Evaluation, config: DecontaminateConfig, folder: Path, most: int, entries: int
) -> Held:
    """(numbers, share, best) of rows that share an n-gram with an evaluation text; of all where there are families."""
    ranges = -(-2 * entries // most)
    counts = np.zeros(_write_ranges(rows, evaluation, config, folder, ranges), dtype=np.int64)  # pairs of each row
    with (folder / "pairs").open("wb") as out:
        for part in range(ranges):
            for pairs in _join(folder / f"evaluation{part}", folder / f"rows{part}", most):
                pairs.tofile(out)
                np.add.at(counts, pairs >> np.uint64(32), 1)
    # Rows are cut where their pairs fill half of what may be in memory, so that no part is more than that and a row.
    part_of = (np.cumsum(counts) - counts) // max(most // 2, 1)
    for pairs in _read(folder / "pairs", PAIR, most):
        _spill(folder, "part", part_of[(pairs >> np.uint64(32)).astype(np.int64)], pairs)
    paired, families = _Pairs(folder, part_of), Families(evaluation)
    for numbers, texts in rows():
        some = np.arange(len(numbers)) if len(families) else np.flatnonzero(counts[numbers])
        if len(some):
            values, offsets = ngrams_of(texts.take(some), config.ngram)
            yield numbers[some], *overlap(values, offsets, evaluation, families, paired.of(numbers[some]))


def _write_ranges(rows: Rows, evaluation: Evaluation, config: DecontaminateConfig, folder: Path, ranges: int) -> int:
    """Both sides on disk, by ranges of hashes. Returned is one more than the last number."""
    bitmap = np.zeros(2 ** (BITMAP_BITS - 3), dtype=np.uint8)
    shift, part = np.uint64(64 - BITMAP_BITS), np.uint64(32)

    def write(name: str, hashes: np.ndarray, of: np.ndarray) -> None:
        records = np.empty(len(hashes), dtype=RECORD)
        records["hash"], records["of"] = hashes, of
        _spill(folder, name, ((hashes >> part) * np.uint64(ranges) >> part).astype(np.int64), records)

    for hashes, owners in rarest_ngrams(evaluation, config.threshold):
        slots = hashes >> shift
        np.bitwise_or.at(bitmap, slots >> np.uint64(3), np.uint8(1) << (slots & np.uint64(7)).astype(np.uint8))
        write("evaluation", hashes, owners)
    count = 0
    for numbers, texts in rows():
        count = int(numbers.max(initial=count - 1)) + 1
        values, offsets = ngrams_of(texts, config.ngram)
        slots = values >> shift
        there = bitmap[slots >> np.uint64(3)] >> (slots & np.uint64(7)).astype(np.uint8) & np.uint8(1) != 0
        write("rows", values[there], np.repeat(numbers, np.diff(offsets))[there])
    return count


def _join(theirs: Path, mine: Path, most: int) -> Iterator[np.ndarray]:
    """The pairs of one range of hashes. Several blocks of one side meet all of the other, which only a range has in
    which one hash is very often."""
    for block in _read(theirs, RECORD, most):
        index = index_of([(block["hash"], block["of"])])
        for other in _read(mine, RECORD, most):
            yield from pairs_of(other["hash"], other["of"], index, most)


class _Pairs:
    """The pairs of rows that are asked for in ascending order, from the parts they were cut into."""

    def __init__(self, folder: Path, part_of: np.ndarray) -> None:
        self._folder, self._part_of = folder, part_of
        self._number, self._part = -1, np.zeros(0, dtype=PAIR)

    def of(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Sorted by row, a row as its place in `rows`."""
        for number in range(int(self._part_of[rows[0]]), int(self._part_of[rows[-1]]) + 1):
            if number != self._number:
                path = self._folder / f"part{number}"
                self._number, self._part = number, np.zeros(0, dtype=PAIR)
                if path.exists():
                    self._part = np.unique(np.fromfile(path, dtype=PAIR))
            bounds = np.array([rows[0], rows[-1] + 1], dtype=np.uint64) << np.uint64(32)
            begin, end = np.searchsorted(self._part, bounds)
            pairs = self._part[begin:end]
            place = np.searchsorted(rows, (pairs >> np.uint64(32)).astype(np.int64)).astype(np.uint64)
            yield place << np.uint64(32) | pairs & np.uint64(2**32 - 1)


def _spill(folder: Path, name: str, parts: np.ndarray, records: np.ndarray) -> None:
    """Append each of `records` to the file of its part."""
    order = np.argsort(parts, kind="stable")
    records, parts = records[order], parts[order]
    for begin, end in runs(parts):
        with (folder / f"{name}{parts[begin]}").open("ab") as out:
            records[begin:end].tofile(out)


def _read(path: Path, dtype: np.dtype, most: int) -> Iterator[np.ndarray]:
    """The records of a file, `most` at a time; none where there is no file."""
    if path.exists():
        with path.open("rb") as stream:
            while len(records := np.fromfile(stream, dtype=dtype, count=most)):
                yield records
