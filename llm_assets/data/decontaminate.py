"""Training texts that hold what a model will be evaluated on: found by the n-grams they share with evaluation texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.config import DecontaminateConfig
from llm_assets.data.shingles import shingles, word_hashes
from llm_assets.data.steps import Outcome, Step

if TYPE_CHECKING:
    import pyarrow as pa

REASON = "contaminated"


@dataclass(frozen=True)
class Evaluation:
    """hashes: n-grams of all evaluation texts, sorted, uint64 [n]; owners: the text of each, uint32 [n].

    totals: distinct n-grams of each text, int64 [texts]; names: what a rejection calls it. Twelve bytes and more for
    each word of the evaluation texts are held in memory.
    """

    hashes: np.ndarray
    owners: np.ndarray
    totals: np.ndarray
    names: list[str]


def evaluation_ngrams(batches: Iterable[pa.RecordBatch], ngram: int) -> Evaluation:
    """The n-grams of texts (columns `id` and `text`), case and punctuation aside.

    A text of fewer than `ngram` words is one n-gram, which only a text of the same words has.
    """
    hashes, totals, names = [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)], []
    for batch in batches:
        values, offsets = shingles(*word_hashes(batch["text"]), ngram)
        hashes.append(values)
        totals.append(np.diff(offsets))
        names += batch["id"].to_pylist()
    every, counts = np.concatenate(hashes), np.concatenate(totals)
    hashes.clear()
    owners = np.repeat(np.arange(len(counts), dtype=np.uint32), counts)[np.argsort(every, kind="stable")]
    every.sort()  # in place: a copy would be most of what this takes
    return Evaluation(every, owners, counts, names)


def decontaminate_step(evaluation: Evaluation, config: DecontaminateConfig) -> Step:
    """Rejects train rows that hold at least `threshold` of the n-grams of one evaluation text."""

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        share, owner = overlap(batch["text"], evaluation, config.ngram)
        train = pc.fill_null(pc.equal(batch["split"], "train"), False).to_numpy(zero_copy_only=False)
        found = train & (owner >= 0) & (share >= config.threshold)
        detail = [
            f"{share[row]:.2f} of the {config.ngram}-grams of {evaluation.names[owner[row]]}" if found[row] else None
            for row in range(batch.num_rows)
        ]
        reason = pc.if_else(pa.array(found), REASON, pa.scalar(None, pa.string()))
        return Outcome(reason=reason, detail=pa.array(detail, pa.string()))

    return Step("decontaminate", run)


def overlap(texts: pa.Array, evaluation: Evaluation, ngram: int) -> tuple[np.ndarray, np.ndarray]:
    """For each text (the largest share of one evaluation text's n-grams that it holds, that text or -1)."""
    values, offsets = shingles(*word_hashes(texts), ngram)
    left = np.searchsorted(evaluation.hashes, values, side="left")
    count = np.searchsorted(evaluation.hashes, values, side="right") - left
    rows = np.repeat(np.repeat(np.arange(len(texts)), np.diff(offsets)), count)
    place = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(left, count)
    texts_of = max(len(evaluation.totals), 1)
    pairs, shared = np.unique(rows * texts_of + evaluation.owners[place], return_counts=True)
    row, owner = pairs // texts_of, pairs % texts_of
    part = shared / evaluation.totals[owner]
    share, best = np.zeros(len(texts)), np.full(len(texts), -1)
    ascending = np.lexsort((-owner, part))
    share[row[ascending]], best[row[ascending]] = part[ascending], owner[ascending]
    return share, best
