"""Rare values of a column that are one edit from one frequent value only: a repeated value is rarely a slip."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from llm_assets.data.coded import Coded
from llm_assets.data.table_config import RepairConfig

TOGETHER = 2**14  # texts that are read together


def respelled(column: Coded, config: RepairConfig) -> tuple[np.ndarray, np.ndarray]:
    """(rows of such values, ascending int64; the code of the frequent value of each, int32)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    filled = np.arange(len(column.counts)) != column.blank
    frequent = np.flatnonzero(filled & (column.counts >= config.min_frequent))
    rare = np.flatnonzero(filled & (column.counts <= config.max_rare))
    after = np.full(len(column.counts), -1, dtype=np.int32)
    if len(frequent):
        index = _Frequent(column.texts_of(frequent))
        sizes = sorted({len(text) + more for text in index.texts for more in (-1, 0, 1)})
        for first in range(0, len(rare), TOGETHER):
            texts = column.texts.take(pa.array(rare[first : first + TOGETHER]))
            lengths = pc.utf8_length(texts).to_numpy()
            some = np.flatnonzero(np.isin(lengths, sizes) & (lengths >= config.min_length))
            for at, text in zip(some.tolist(), texts.take(pa.array(some)).to_pylist(), strict=True):
                place = index.slip_of(text)
                if place >= 0:
                    after[rare[first + at]] = frequent[place]
    rows = np.flatnonzero(after[column.codes] >= 0)
    return rows, after[column.codes[rows]]


class _Frequent:
    """Frequent values, found by their halves: of two texts one edit apart one half of either is in the other."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._shapes = {_shape(text) for text in texts}
        self._halves: dict[tuple[int, bool, str], list[int]] = defaultdict(list)
        for place, text in enumerate(texts):
            half = len(text) // 2
            self._halves[len(text), True, text[:half]].append(place)
            self._halves[len(text), False, text[half:]].append(place)

    def slip_of(self, text: str) -> int:
        """The place of the only value that `text` may be a slip of; -1 where there are several, or none, or `text` has
        a shape (digits, letters, others) that a frequent value has: `1x0%` is odd among `100%`, but not `99%`."""
        if _shape(text) in self._shapes:
            return -1
        near = set[int]()
        for size in (len(text) - 1, len(text), len(text) + 1):
            half = size // 2
            near.update(self._halves.get((size, True, text[:half]), ()))
            near.update(self._halves.get((size, False, text[len(text) - (size - half) :]), ()))
        found = [place for place in near if _one_slip(text, self.texts[place])]
        return found[0] if len(found) == 1 else -1


def _one_slip(text: str, right: str) -> bool:
    """One edit apart. Where there are digits, only a letter in a digit's place is a slip: 514 is not a misspelt 14."""
    from rapidfuzz.distance import Levenshtein

    if Levenshtein.distance(text, right, score_cutoff=1) > 1:
        return False
    if not any(char.isdigit() for char in text + right):
        return True
    pairs = [(a, b) for a, b in zip(text, right, strict=False) if a != b]
    return len(text) == len(right) and not pairs[0][0].isdigit()


def _shape(text: str) -> str:
    return "".join("9" if char.isdigit() else "a" if char.isalpha() else char for char in text)
