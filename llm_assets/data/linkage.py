"""Records of a table that speak of the same thing, without training data.

Blocking proposes pairs that agree on a value of some selective column; a pair's score is the weighted likeness of its
fields. The weights are those of Fellegi and Sunter (1969) for agreement, log2(m / u): u, how often two records agree
by chance, is counted in the table, m is taken as 0.9. Likeness of two texts is 1 - edits / length, a transposition
being one edit. Pairs from `threshold` on are linked, and linked records form groups.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.coded import Coded, coded
from llm_assets.data.executor import InOrder
from llm_assets.data.stored import Stored
from llm_assets.data.table_config import LinkageConfig
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

AGREEMENT = 0.9  # m: how often records of the same thing agree on a field
TOGETHER = 2**18  # pairs that are compared together


@dataclass(frozen=True)
class Linkage:
    """weights: bits of evidence that agreement on a column is worth; compared: pairs that blocking proposed.

    left, right: rows of each link, int64, sorted by both; scores: float64; dropped: rows that go, ascending, int64;
    stays: for each the row of its group that stays; groups: their number.
    """

    weights: dict[str, float]
    compared: int
    left: np.ndarray
    right: np.ndarray
    scores: np.ndarray
    dropped: np.ndarray
    stays: np.ndarray
    groups: int


def link_records(table: Stored, config: LinkageConfig, each: InOrder) -> Linkage:
    """Which rows are of one record. The fullest of a group stays, of equally full ones the first. Columns and pairs are
    worked on by `each`.

    Held in memory: for each column that is compared sixteen bytes a row and as many a distinct value, and 24 bytes a
    link. Pairs are proposed and compared some 260,000 at a time. Raises UserError for a column that is not there.
    """
    names = config.columns or table.schema.names
    for name in names:
        if name not in table.schema.names:
            raise UserError(f"no column {name!r} to compare records by; there are {', '.join(table.schema.names)}")
    with tempfile.TemporaryDirectory(dir=table.path.parent) as folder:
        found_columns = each(partial(_coded, table, names, Path(folder)), range(len(names)))
        columns = dict(zip(names, found_columns, strict=True))
        weights = {name: _weight(column) for name, column in columns.items()}
        compared, found = 0, [[np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)]]
        pairs = candidate_pairs(list(columns.values()), table.rows, config.max_block)
        for count, *links in each(partial(_links, columns, weights, config.threshold), pairs):
            compared += count
            found.append(links)
    left, right, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    filled = np.zeros(table.rows, dtype=np.int32)
    for column in columns.values():
        filled += column.codes != column.blank
    dropped, stays, groups = _dropped(left, right, filled)
    rounded = {name: round(weight, 3) for name, weight in weights.items()}
    return Linkage(rounded, compared, left, right, scores, dropped, stays, groups)


def candidate_pairs(
    columns: Sequence[Coded], rows: int, max_block: int, most: int = TOGETHER
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(left, right) rows that share a column's value, where at most `max_block` rows do: int64, sorted, each pair once.

    At most `most` of a column's pairs and those of one row are in memory together, times the columns.
    """
    blocks = [_Blocks(column, max_block) for column in columns]
    ends = np.cumsum(sum((block.followers() for block in blocks), np.zeros(rows, dtype=np.int64)))
    first = 0
    while first < rows:
        before = int(ends[first - 1]) if first else 0
        end = max(int(np.searchsorted(ends, before + most, side="right")), first + 1)
        pairs = np.unique(np.concatenate([block.pairs(first, end) for block in blocks]))
        if len(pairs):
            yield pairs // rows, pairs % rows
        first = end


class _Blocks:
    """The rows of each value of a column that proposes pairs."""

    def __init__(self, column: Coded, max_block: int) -> None:
        proposes = (column.counts > 1) & (column.counts <= max_block)
        if column.blank >= 0:
            proposes[column.blank] = False
        rows = np.flatnonzero(proposes[column.codes]).astype(np.int32)
        self._order = rows[np.argsort(column.codes[rows], kind="stable")]  # by value, and there by row
        codes = column.codes[self._order]
        ends = np.searchsorted(codes, codes, side="right").astype(np.int32)
        self._rows = len(column.codes)
        self._place = np.full(self._rows, -1, dtype=np.int32)  # of a row in the order
        self._place[self._order] = np.arange(len(self._order), dtype=np.int32)
        self._left = ends - np.arange(1, len(ends) + 1, dtype=np.int32)  # rows of the block behind each

    def followers(self) -> np.ndarray:
        """With how many later rows each row is paired: int32 [rows]."""
        found = np.zeros(self._rows, dtype=np.int32)
        found[self._order] = self._left
        return found

    def pairs(self, first: int, end: int) -> np.ndarray:
        """left * rows + right of the rows from `first` to `end`."""
        places = self._place[first:end]
        places = places[places >= 0].astype(np.int64)
        counts = self._left[places].astype(np.int64)
        begins = np.cumsum(counts) - counts
        right = self._order[np.arange(counts.sum()) + np.repeat(places + 1 - begins, counts)]
        found: np.ndarray = np.repeat(self._order[places].astype(np.int64), counts) * self._rows + right
        return found


def _coded(table: Stored, names: Sequence[str], folder: Path, place: int) -> Coded:
    return coded(partial(_plain, table, names[place]), folder / str(place))


def _plain(table: Stored, name: str) -> Iterator[pa.Array]:
    """A column's texts in lower case with single blanks."""
    import pyarrow as pa

    for cells in table.column(name):
        known: dict[str, str] = {}
        texts: list[str | None] = []
        for cell in cells.to_pylist():
            if cell is None:
                texts.append(None)
                continue
            text = str(cell)
            if text not in known:
                known[text] = " ".join(text.lower().split())
            texts.append(known[text])
        yield pa.array(texts, pa.string())


def _weight(column: Coded) -> float:
    """log2(m / u) with u = the chance that two filled cells are equal; 0 for a column that says nothing."""
    counts = column.counts.copy()
    if column.blank >= 0:
        counts[column.blank] = 0
    total = int(counts.sum())
    if total < 2:
        return 0.0
    pairs = int((counts * (counts - 1)).sum())
    chance = max(pairs / (total * (total - 1)), 1 / (total * (total - 1)))
    return max(0.0, math.log2(AGREEMENT / chance))


def _links(
    columns: Mapping[str, Coded], weights: Mapping[str, float], threshold: float, pairs: tuple[np.ndarray, np.ndarray]
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """(how many pairs these are; left, right and scores of those that are linked)."""
    left, right = pairs
    scores = _scores(columns, weights, left, right)
    linked = scores >= threshold
    return len(left), left[linked], right[linked], scores[linked]


def _scores(
    columns: Mapping[str, Coded], weights: Mapping[str, float], left: np.ndarray, right: np.ndarray
) -> np.ndarray:
    """Weighted mean likeness, each pair's over the columns that both fill: float64 [pairs]."""
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cpdist

    total, evidence = np.zeros(len(left)), np.zeros(len(left))
    for name, column in columns.items():
        one, other = column.codes[left], column.codes[right]
        both = (one != column.blank) & (other != column.blank)
        alike = (both & (one == other)).astype(np.float64)
        differ = np.flatnonzero(both & (one != other))
        alike[differ] = cpdist(
            column.texts_of(one[differ]),
            column.texts_of(other[differ]),
            scorer=OSA.normalized_similarity,
            dtype=np.float32,
            workers=1,
        )
        total += weights[name] * alike
        evidence += weights[name] * both
    found: np.ndarray = total / np.maximum(evidence, 1e-9)
    return found


def _dropped(left: np.ndarray, right: np.ndarray, filled: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """(rows that go, the row each goes for, groups of connected records)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows, places = np.unique(np.concatenate([left, right]), return_inverse=True)
    one, other = places[: len(left)], places[len(left) :]
    links = coo_array((np.ones(len(left), dtype=np.int8), (one, other)), shape=(len(rows), len(rows)))
    groups, group = connected_components(links, directed=False) if len(rows) else (0, np.zeros(0, dtype=np.int32))
    order = np.lexsort((rows, -filled[rows], group))
    best = rows[order][np.searchsorted(group[order], np.arange(groups))]
    stays = best[group]
    goes = stays != rows
    return rows[goes], stays[goes], int(groups)
