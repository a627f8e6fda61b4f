"""Training texts that hold what a model will be evaluated on: found by the n-grams they share with evaluation texts.

What is looked up of an evaluation text (`evaluation_texts.py`) says with which it has to be compared; the share is then
counted over all its n-grams. With those made alike it is compared at once (`evaluation_families.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.config import DecontaminateConfig
from llm_assets.data.evaluation_families import Families
from llm_assets.data.evaluation_texts import Evaluation, ngrams_of, rarest_ngrams
from llm_assets.data.steps import Outcome, Step

if TYPE_CHECKING:
    import pyarrow as pa

REASON = "contaminated"
MOST = 2**22  # hashes, or pairs of a train and an evaluation text, that are held together: some 250 MB
COMPARED = 256  # evaluation texts that a train text is compared with at a time


@dataclass(frozen=True)
class Index:
    """hashes: sorted, uint64 [n]; owners: the evaluation text of each, uint32 [n]."""

    hashes: np.ndarray
    owners: np.ndarray


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
    values: np.ndarray, offsets: np.ndarray, evaluation: Evaluation, families: Families, pairs: Iterable[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """For each text (the largest share of one evaluation text's n-grams that it holds, the first such text or -1).

    values, offsets: as of `ngrams_of`; pairs: as of `pairs_of`, which evaluation texts are compared with which text.
    """
    share, best = families.shares(values, offsets)
    for some in pairs:
        rows, owners = (some >> np.uint64(32)).astype(np.int64), (some & np.uint64(2**32 - 1)).astype(np.int64)
        for begin, end in runs(rows):
            row = int(rows[begin])
            mine = values[offsets[row] : offsets[row + 1]]
            for first in range(begin, end, COMPARED):
                of = owners[first : min(first + COMPARED, end)]
                part = _shares(mine, evaluation, of)
                most = part.max()
                place = int(of[part == most].min())
                if (most, -place) > (share[row], -best[row] if best[row] >= 0 else -np.inf):
                    share[row], best[row] = most, place
    return share, best


def _shares(mine: np.ndarray, evaluation: Evaluation, texts: np.ndarray) -> np.ndarray:
    """The share of the n-grams of each evaluation text that are in `mine` (sorted): float64."""
    theirs = [evaluation.ngrams(text, text + 1) for text in texts.tolist()]
    every = np.concatenate(theirs)
    held = mine[np.minimum(np.searchsorted(mine, every), len(mine) - 1)] == every
    sizes = np.array([len(grams) for grams in theirs])
    shares: np.ndarray = np.add.reduceat(held, np.cumsum(sizes) - sizes, dtype=np.int64) / sizes
    return shares


def runs(values: np.ndarray) -> list[tuple[int, int]]:
    """Where each run of equal values begins and ends."""
    bounds = [*(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), len(values)]
    return [*zip([0, *bounds], bounds, strict=False)] if len(values) else []


def decontaminate_step(evaluation: Evaluation, config: DecontaminateConfig) -> Step:
    """Rejects train rows that hold at least `threshold` of the n-grams of one evaluation text."""
    index, families = index_of(rarest_ngrams(evaluation, config.threshold)), Families(evaluation)

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        share, owner = contained(batch["text"], evaluation, families, index, config)
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
    texts: pa.Array, evaluation: Evaluation, families: Families, index: Index, config: DecontaminateConfig
) -> tuple[np.ndarray, np.ndarray]:
    """As of `overlap`, where that is `threshold` or more; less may be less than there is."""
    values, offsets = ngrams_of(texts, config.ngram)
    rows = np.repeat(np.arange(len(texts)), np.diff(offsets))
    return overlap(values, offsets, evaluation, families, pairs_of(values, rows, index))


def said(names: pa.Array, config: DecontaminateConfig, share: float, owner: int) -> str:
    """The detail of a rejection."""
    return f"{share:.2f} of the {config.ngram}-grams of {names[int(owner)].as_py()}"
