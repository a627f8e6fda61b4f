"""Texts as lists of lines (or words), a column at a time: sums by row, choices, repeats."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


class Lines:
    """The parts of each text between separators: `parts` in a row, `offsets` int64 [rows + 1]."""

    def __init__(self, lists: pa.Array) -> None:
        import pyarrow.compute as pc

        self.parts = pc.list_flatten(lists)
        self.offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))])

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets)

    def rows(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def per_row(self, values: pa.Array | np.ndarray) -> np.ndarray:
        """Sums of a value a part, by row: float64 [rows]."""
        return np.bincount(self.rows(), weights=numbers(values), minlength=len(self.counts))

    def where(self, mask: np.ndarray) -> Lines:
        """Only the parts of a mask."""
        import pyarrow as pa

        chosen = object.__new__(Lines)
        chosen.parts = self.parts.filter(pa.array(mask))
        chosen.offsets = np.concatenate([[0], np.cumsum(self.per_row(mask).astype(np.int64))])
        return chosen

    def repeats(self) -> np.ndarray:
        """Which parts occurred before in their row."""
        codes = self.parts.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        keys = self.rows() * (len(self.parts) + 1) + codes
        order = np.argsort(keys, kind="stable")
        again = np.zeros(len(keys), dtype=bool)
        again[order[1:]] = keys[order][1:] == keys[order][:-1]
        return again


def numbers(values: pa.Array | np.ndarray) -> np.ndarray:
    import pyarrow.compute as pc

    if isinstance(values, np.ndarray):
        return values
    return pc.cast(pc.fill_null(values, False if str(values.type) == "bool" else 0), "int64").to_numpy()


def mask_of(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False).astype(bool)
