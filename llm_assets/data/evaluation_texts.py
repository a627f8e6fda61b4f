"""Evaluation texts as n-grams, and which of these have to be looked up to find who holds a share of a text.

Who holds `threshold` of an evaluation text's n-grams holds at least one of any `n - threshold * n + 1` of them (as the
prefixes of Chaudhuri et al. 2006). So only the rarest of each evaluation text are looked up, which finds nothing that
the rest would not and is never led astray by what all texts have.

Where evaluation texts are made alike (one template, one boilerplate), the rarest are not rare enough. Texts with the
same common n-grams form a family: of those with which a train text shares nothing else it holds most of the shortest,
and no more. So a train text is compared with those that it shares a rare n-gram with, of which there are few for each,
and with all families at once (`evaluation_families.py`).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from llm_assets.data.shingles import mix, shingles, word_hashes

if TYPE_CHECKING:
    import pyarrow as pa

BLOCK = 2**18  # hashes that are read together
COMMON_BITS = 22  # how often an n-gram is there is counted by so many bits of its hash: only which are rare matters
COMMON = 64  # evaluation texts that have an n-gram before it is a common one


@dataclass(frozen=True)
class Evaluation:
    """Evaluation texts, of which only numbers are in memory.

    grams: hashes of the n-grams of each text in turn, sorted, as bytes of uint64; offsets: where each text begins,
    int64 [texts + 1]; names: what a rejection calls each, strings; common: how often n-grams are there, by the first
    COMMON_BITS of their hash, uint32. often: the common n-grams, sorted, uint64; heads: the shortest text of each
    family, of several the first, int64.
    """

    grams: BinaryIO
    offsets: np.ndarray
    names: pa.Array
    common: np.ndarray
    often: np.ndarray
    heads: np.ndarray

    @property
    def texts(self) -> int:
        return len(self.offsets) - 1

    def is_common(self, ngrams: np.ndarray) -> np.ndarray:
        """bool"""
        if not len(self.often):
            return np.zeros(len(ngrams), dtype=bool)
        place = np.minimum(np.searchsorted(self.often, ngrams), len(self.often) - 1)
        found: np.ndarray = self.often[place] == ngrams
        return found

    def ngrams(self, first: int, end: int) -> np.ndarray:
        """The n-grams of these texts: uint64."""
        begin, size = int(self.offsets[first]), int(self.offsets[end] - self.offsets[first])
        self.grams.seek(8 * begin)
        return np.frombuffer(self.grams.read(8 * size), dtype=np.uint64)


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
    none = np.zeros(0, dtype=np.int64)
    every = pa.concat_arrays(names)
    found = Evaluation(grams, np.cumsum(np.concatenate(totals)), every, common, none.astype(np.uint64), none)
    found = replace(found, often=_common_ngrams(found))
    return replace(found, heads=_heads(found))


def _common_ngrams(evaluation: Evaluation) -> np.ndarray:
    """The n-grams that `COMMON` texts have, sorted, uint64; some more texts where there are so many n-grams that other
    hashes begin alike. Only those of which that may be are counted one by one."""
    least = COMMON + 8 * int(evaluation.offsets[-1]) // len(evaluation.common)
    hashes, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    for _, _, values, _ in _blocks(evaluation) if evaluation.common.max() >= least else ():
        some, there = np.unique(values[evaluation.common[_slots(values)] >= least], return_counts=True)
        hashes, place = np.unique(np.concatenate([hashes, some]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, there]), len(hashes)).astype(np.int64)
    return hashes[counts >= least]


def _heads(evaluation: Evaluation) -> np.ndarray:
    """Texts of a family have as many common n-grams, and the same sum of their hashes."""
    sums = np.zeros(evaluation.texts, dtype=np.uint64)
    counts = np.zeros(evaluation.texts, dtype=np.int64)
    for first, end, values, owners in _blocks(evaluation) if len(evaluation.often) else ():
        common = evaluation.is_common(values)
        np.add.at(sums, owners[common], mix(values[common]))
        counts[first:end] = np.bincount(owners[common] - first, minlength=end - first)
    some = np.flatnonzero(counts)
    order = some[np.lexsort((some, np.diff(evaluation.offsets)[some], counts[some], sums[some]))]
    other = np.ones(len(order), dtype=bool)
    other[1:] = (sums[order[1:]] != sums[order[:-1]]) | (counts[order[1:]] != counts[order[:-1]])
    return order[other]


def _blocks(evaluation: Evaluation) -> Iterator[tuple[int, int, np.ndarray, np.ndarray]]:
    """(first text, end, their n-grams uint64, the text of each int64), block by block."""
    first = 0
    while first < evaluation.texts:
        end = int(np.searchsorted(evaluation.offsets, evaluation.offsets[first] + BLOCK, side="right")) - 1
        end = max(end, first + 1)
        sizes = np.diff(evaluation.offsets[first : end + 1])
        yield first, end, evaluation.ngrams(first, end), np.repeat(np.arange(first, end), sizes)
        first = end


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
    """(hashes uint64, the text of each uint32) of what is to be looked up, block by block; no common n-grams."""
    wanted = looked_up(evaluation, threshold)
    for _, _, values, owners in _blocks(evaluation):
        rare = ~evaluation.is_common(values)
        values, owners = values[rare], owners[rare]
        order = np.argsort(owners << 32 | evaluation.common[_slots(values)], kind="stable")  # owners stay in order
        place = np.arange(len(values)) - np.searchsorted(owners, owners)
        chosen = place < wanted[owners]
        yield values[order[chosen]], owners[chosen].astype(np.uint32)


def _slots(values: np.ndarray) -> np.ndarray:
    return values >> np.uint64(64 - COMMON_BITS)
