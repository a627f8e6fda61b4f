"""Evaluation texts made alike, compared with a train text all at once.

Of texts with the same common n-grams (a family) the shortest is looked at. Common n-grams that the same families have
are one part. How many n-grams of each part a train text has is counted once, and a sparse product with the parts of the
families says how many of each family's it has: no n-gram of a family is read for it, however many families there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.evaluation_texts import Evaluation
from llm_assets.data.shingles import mix

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

MOST = 2**22  # common n-grams of families, or counts of a train text and a family, that are held together


class Families:
    """The families of `evaluation`, in the order of their shortest texts."""

    def __init__(self, evaluation: Evaluation) -> None:
        self._evaluation = evaluation
        self._heads = np.sort(evaluation.heads)
        self._sizes = np.diff(evaluation.offsets)[self._heads]
        self._ends = np.cumsum(self._sizes)
        self._parts = self._parts_of_ngrams()
        few = not len(self._ends) or self._ends[-1] <= MOST
        self._held = list(self._blocks()) if few else None

    def __len__(self) -> int:
        return len(self._heads)

    def shares(self, values: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each train text (the largest share of the n-grams of a family's shortest text that it has of the common
        ones float64, the first such text int64 or -1). values, offsets: as of `ngrams_of`."""
        share, best = np.zeros(len(offsets) - 1), np.full(len(offsets) - 1, -1)
        if not len(self):
            return share, best
        counted = self._counted(values, offsets)
        some = np.flatnonzero(np.diff(counted.indptr))
        for first, family_parts in self._blocks() if self._held is None else self._held:
            end = first + family_parts.shape[0]
            together = max(MOST // (end - first), 1)
            for begin in range(0, len(some), together):
                rows = some[begin : begin + together]
                found = (counted[rows] @ family_parts.T).toarray() / self._sizes[first:end]
                most = found.max(axis=1)
                more = most > share[rows]
                share[rows[more]] = most[more]
                best[rows[more]] = self._heads[first + found.argmax(axis=1)[more]]
        return share, best

    def _counted(self, values: np.ndarray, offsets: np.ndarray) -> csr_matrix:
        """How many n-grams of each part each text has."""
        from scipy.sparse import csr_matrix

        common = np.flatnonzero(self._evaluation.is_common(values))
        rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))[common]
        parts = self._parts[np.searchsorted(self._evaluation.often, values[common])]
        return csr_matrix((np.ones(len(rows)), (rows, parts)), (len(offsets) - 1, self._part_count))

    @property
    def _part_count(self) -> int:
        return int(self._parts.max(initial=-1)) + 1

    def _parts_of_ngrams(self) -> np.ndarray:
        """The part of each common n-gram: int64. Those with the same sum over their families' hashes are one."""
        sums = np.zeros(len(self._evaluation.often), dtype=np.uint64)
        for first, places, owners in self._common():
            np.add.at(sums, places, mix((first + owners + 1).astype(np.uint64)))
        parts: np.ndarray = np.unique(sums, return_inverse=True)[1]
        return parts

    def _blocks(self) -> Iterator[tuple[int, csr_matrix]]:
        """(first family, which parts it and those behind it have), block by block."""
        from scipy.sparse import csr_matrix

        for first, places, owners in self._common():
            pairs = np.unique(owners * self._part_count + self._parts[places])
            count = int(owners.max(initial=-1)) + 1
            rows, parts = pairs // self._part_count, pairs % self._part_count
            yield first, csr_matrix((np.ones(len(pairs)), (rows, parts)), (count, self._part_count))

    def _common(self) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(first family, places in `often` of the common n-grams of it and those behind it, the family of each counted
        from the first), some `MOST` n-grams at a time."""
        first = 0
        while first < len(self):
            before = int(self._ends[first - 1]) if first else 0
            end = max(int(np.searchsorted(self._ends, before + MOST, side="right")), first + 1)
            grams = [self._evaluation.ngrams(text, text + 1) for text in self._heads[first:end].tolist()]
            owners, values = np.repeat(np.arange(end - first), self._sizes[first:end]), np.concatenate(grams)
            common = self._evaluation.is_common(values)
            yield first, np.searchsorted(self._evaluation.often, values[common]), owners[common]
            first = end
