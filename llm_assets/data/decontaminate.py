"""Training texts that hold what a model will be evaluated on: found by the n-grams they share with evaluation texts.

Who holds `threshold` of an evaluation text's n-grams holds at least one of any `n - threshold * n + 1` of them (as the
prefixes of Chaudhuri et al. 2006). So only the rarest of each evaluation text are looked up, which finds nothing that
the rest would not and is never led astray by what all texts have; the share is then counted over all of them.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from llm_assets.data.config import DecontaminateConfig
from llm_assets.data.shingles import shingles, word_hashes
from llm_assets.data.steps import Outcome, Step

if TYPE_CHECKING:
    import pyarrow as pa

REASON = "contaminated"
MOST = 2**22  # hashes, or pairs of a train and an evaluation text, that are held together: some 250 MB
BLOCK = 2**18  # hashes that are read together
COMMON_BITS = 22  # how often an n-gram is there is counted by so many bits of its hash: only which are rare matters
COMPARED = 256  # evaluation texts that a train text is compared with at a time


@dataclass(frozen=True)
class Evaluation:
    """Evaluation texts, of which only numbers are in memory.

    grams: hashes of the n-grams of each text in turn, sorted, as bytes of uint64; offsets: where each text begins,
    int64 [texts + 1]; names: what a rejection calls each, strings; common: how often n-grams are there, by the first
    COMMON_BITS of their hash, uint32.
    """

    grams: BinaryIO
    offsets: np.ndarray
    names: pa.Array
    common: np.ndarray

    def ngrams(self, first: int, end: int) -> np.ndarray:
        """The n-grams of these texts: uint64."""
        begin, size = int(self.offsets[first]), int(self.offsets[end] - self.offsets[first])
        self.grams.seek(8 * begin)
        return np.frombuffer(self.grams.read(8 * size), dtype=np.uint64)


@dataclass(frozen=True)
class Index:
    """hashes: sorted, uint64 [n]; owners: the evaluation text of each, uint32 [n]."""

    hashes: np.ndarray
    owners: np.ndarray


def evaluation_ngrams(batches: Iterable[pa.RecordBatch], ngram: int, grams: BinaryIO | None = None) -> Evaluation:
    """The n-grams of texts (columns `id` and `text`), case and punctuation aside; they are written into `grams`, an
    open binary file, or into memory.

    A text of fewer than `ngram` words is one n-gram, which only a text of the same words has.
    """
    import pyarrow as pa

    grams = io.BytesIO() if grams is None else grams
    totals, names = [np.zeros(1, dtype=np.int64)], [pa.array([], pa.string())]
    common = np.zeros(2**COMMON_BITS, dtype=np.uint32)
    for batch in batches:
        values, offsets = ngrams_of(batch["text"], ngram)
        grams.write(values.tobytes())
        np.add.at(common, _slots(values), np.uint32(1))
        totals.append(np.diff(offsets))
        names.append(batch["id"])
    return Evaluation(grams, np.cumsum(np.concatenate(totals)), pa.concat_arrays(names), common)


def ngrams_of(texts: pa.Array, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """(hashes of each text's distinct n-grams, sorted, uint64 [n]; offsets int64 [texts + 1])."""
    return shingles(*word_hashes(texts), ngram)


def looked_up(evaluation: Evaluation, threshold: float) -> np.ndarray:
    """How many n-grams of each evaluation text have to be looked up: int64 [texts]."""
    totals = np.diff(evaluation.offsets)
    enough = np.ceil(threshold * totals).astype(np.int64)
    enough -= (enough - 1) / totals >= threshold  # as shares are compared, whatever was rounded
    enough += enough / totals < threshold
    return totals - np.maximum(enough, 1) + 1


def rarest_ngrams(evaluation: Evaluation, threshold: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(hashes uint64, the text of each uint32) of what is to be looked up, block by block."""
    wanted, first, texts = looked_up(evaluation, threshold), 0, len(evaluation.offsets) - 1
    while first < texts:
        end = int(np.searchsorted(evaluation.offsets, evaluation.offsets[first] + BLOCK, side="right")) - 1
        end = max(end, first + 1)
        values = evaluation.ngrams(first, end)
        begins = evaluation.offsets[first:end] - evaluation.offsets[first]
        owners = np.repeat(np.arange(first, end, dtype=np.uint64), np.diff(evaluation.offsets[first : end + 1]))
        order = np.argsort(owners << np.uint64(32) | evaluation.common[_slots(values)], kind="stable")
        place = np.arange(len(values)) - begins[owners.astype(np.int64) - first]  # of which owners[order] are owners
        chosen = order[place < wanted[owners.astype(np.int64)]]
        yield values[chosen], owners[chosen].astype(np.uint32)
        first = end


def index_of(blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> Index:
    """(hashes, owners) as an index in memory."""
    hashes, owners = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.uint32)]
    for some, of in blocks:
        hashes.append(some)
        owners.append(of)
    every = np.concatenate(hashes)
    hashes.clear()
    order = np.argsort(every, kind="stable")
    return Index(every[order], np.concatenate(owners)[order])


def pairs_of(values: np.ndarray, rows: np.ndarray, index: Index, most: int = MOST) -> Iterator[np.ndarray]:
    """The rows that have a hash of the index, each with its owner: row << 32 | owner, sorted, distinct, uint64.

    values, rows: hashes and the row of each. Together at most `most` pairs, or those of one hash, are in memory.
    """
    if not len(index.hashes):
        return
    left = np.searchsorted(index.hashes, values)
    hits = np.flatnonzero(index.hashes[np.minimum(left, len(index.hashes) - 1)] == values)
    left, rows = left[hits], rows[hits].astype(np.uint64)
    ends = np.cumsum(np.searchsorted(index.hashes, values[hits], side="right") - left)
    first = 0
    while first < len(hits):
        before = int(ends[first - 1]) if first else 0
        end = max(int(np.searchsorted(ends, before + most, side="right")), first + 1)
        count = np.diff(ends[first:end], prepend=before)
        begin = np.cumsum(count) - count
        place = np.arange(count.sum()) + np.repeat(left[first:end] - begin, count)
        yield np.unique(np.repeat(rows[first:end], count) << np.uint64(32) | index.owners[place])
        first = end


def overlap(
    values: np.ndarray, offsets: np.ndarray, evaluation: Evaluation, pairs: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """For each text (the largest share of one evaluation text's n-grams that it holds, the first such text or -1).

    values, offsets: as of `ngrams_of`; pairs: as of `pairs_of`, which evaluation texts are compared with which text.
    """
    share, best = np.zeros(len(offsets) - 1), np.full(len(offsets) - 1, -1)
    for some in pairs:
        rows, owners = (some >> np.uint64(32)).astype(np.int64), (some & np.uint64(2**32 - 1)).astype(np.int64)
        for begin, end in runs(rows):
            row = int(rows[begin])
            mine = values[offsets[row] : offsets[row + 1]]
            for first in range(begin, end, COMPARED):
                of = owners[first : min(first + COMPARED, end)]
                part = _shares(mine, evaluation, of)
                place = int(part.argmax())  # the first of them, and owners ascend
                if (part[place], -of[place]) > (share[row], -best[row] if best[row] >= 0 else -np.inf):
                    share[row], best[row] = part[place], of[place]
    return share, best


def _shares(mine: np.ndarray, evaluation: Evaluation, owners: np.ndarray) -> np.ndarray:
    """The share of the n-grams of each evaluation text that are in `mine` (sorted): float64."""
    theirs = [evaluation.ngrams(owner, owner + 1) for owner in owners.tolist()]
    every = np.concatenate(theirs)
    held = mine[np.minimum(np.searchsorted(mine, every), len(mine) - 1)] == every
    sizes = np.array([len(grams) for grams in theirs])
    return np.add.reduceat(held, np.cumsum(sizes) - sizes, dtype=np.int64) / sizes


def runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Where each run of equal values begins and ends."""
    bounds = [*(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return [*zip([0, *bounds], bounds, strict=False)] if len(values) else []


def _slots(values: np.ndarray) -> np.ndarray:
    return values >> np.uint64(64 - COMMON_BITS)


def decontaminate_step(evaluation: Evaluation, config: DecontaminateConfig) -> Step:
    """Rejects train rows that hold at least `threshold` of the n-grams of one evaluation text."""
    index = index_of(rarest_ngrams(evaluation, config.threshold))

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        share, owner = contained(batch["text"], evaluation, index, config)
        train = pc.fill_null(pc.equal(batch["split"], "train"), False).to_numpy(zero_copy_only=False)
        found = train & (owner >= 0) & (share >= config.threshold)
        detail = [
            said(evaluation.names, config, share[row], owner[row]) if found[row] else None
            for row in range(batch.num_rows)
        ]
        reason = pc.if_else(pa.array(found), REASON, pa.scalar(None, pa.string()))
        return Outcome(reason=reason, detail=pa.array(detail, pa.string()))

    return Step("decontaminate", run)


def contained(
    texts: pa.Array, evaluation: Evaluation, index: Index, config: DecontaminateConfig
) -> tuple[np.ndarray, np.ndarray]:
    """As of `overlap`, where that is `threshold` or more; less may be less than there is."""
    values, offsets = ngrams_of(texts, config.ngram)
    rows = np.repeat(np.arange(len(texts)), np.diff(offsets))
    return overlap(values, offsets, evaluation, pairs_of(values, rows, index))


def said(names: pa.Array, config: DecontaminateConfig, share: float, owner: int) -> str:
    """The detail of a rejection."""
    return f"{share:.2f} of the {config.ngram}-grams of {names[int(owner)].as_py()}"
