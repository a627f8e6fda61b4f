"""Records of a table that speak of the same thing, without training data.

Blocking proposes pairs that agree on a value of some selective column; a pair's score is the weighted likeness of its
fields. The weights are those of Fellegi and Sunter (1969) for agreement, log2(m / u): u, how often two records agree
by chance, is counted in the table, m is taken as 0.9. Likeness of two texts is 1 - edits / length, a transposition
being one edit. Pairs from `threshold` on are linked, and linked records form groups.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_assets.data.table_config import LinkageConfig
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

AGREEMENT = 0.9  # m: how often records of the same thing agree on a field


@dataclass(frozen=True)
class Link:
    left: int  # row
    right: int
    score: float


@dataclass(frozen=True)
class LinkageReport:
    """weights: bits of evidence that agreement on a column is worth; compared: pairs that blocking proposed."""

    weights: dict[str, float]
    compared: int
    links: list[Link]
    groups: list[list[int]]
    dropped: dict[int, int]  # row -> the row of its group that stays


def deduplicate_records(table: pa.Table, config: LinkageConfig) -> tuple[pa.Table, LinkageReport]:
    """(table with one row a group, report). The fullest record of a group stays, of equal ones the first."""
    import pyarrow as pa

    report = link_records(table, config)
    kept = [row for row in range(table.num_rows) if row not in report.dropped]
    return table.take(pa.array(kept, pa.int64())), report


def link_records(table: pa.Table, config: LinkageConfig) -> LinkageReport:
    """Pairs and groups of records of the same thing. Raises UserError for a column that is not there."""
    names = config.columns or table.schema.names
    for name in names:
        if name not in table.schema.names:
            raise UserError(f"no column {name!r} to compare records by; there are {', '.join(table.schema.names)}")
    columns = {name: [_plain(cell) for cell in table[name].to_pylist()] for name in names}
    weights = {name: _weight(cells) for name, cells in columns.items()}
    pairs = candidate_pairs(columns, config.max_block)
    scores = _scores(columns, weights, pairs)
    links = [Link(a, b, score) for (a, b), score in zip(pairs, scores, strict=True) if score >= config.threshold]
    groups = _groups(links, table.num_rows)
    filled = [sum(cells[row] != "" for cells in columns.values()) for row in range(table.num_rows)]
    dropped: dict[int, int] = {}
    for group in groups:
        stays = max(group, key=lambda row: (filled[row], -row))
        dropped |= {row: stays for row in group if row != stays}
    return LinkageReport(
        {name: round(weight, 3) for name, weight in weights.items()}, len(pairs), links, groups, dropped
    )


def candidate_pairs(columns: dict[str, list[str]], max_block: int) -> list[tuple[int, int]]:
    """Rows that share a column's value, where at most `max_block` rows do; sorted, each once."""
    found: set[tuple[int, int]] = set()
    for cells in columns.values():
        blocks: dict[str, list[int]] = defaultdict(list)
        for row, cell in enumerate(cells):
            if cell:
                blocks[cell].append(row)
        for rows in blocks.values():
            if 1 < len(rows) <= max_block:
                found |= {(a, b) for place, a in enumerate(rows) for b in rows[place + 1 :]}
    return sorted(found)


def _plain(cell: object) -> str:
    return "" if cell is None else " ".join(str(cell).lower().split())


def _weight(cells: Sequence[str]) -> float:
    """log2(m / u) with u = the chance that two filled cells are equal; 0 for a column that says nothing."""
    counts = Counter(cell for cell in cells if cell)
    total = sum(counts.values())
    if total < 2:
        return 0.0
    pairs = sum(count * (count - 1) for count in counts.values())
    chance = max(pairs / (total * (total - 1)), 1 / (total * (total - 1)))
    return max(0.0, math.log2(AGREEMENT / chance))


def _scores(columns: dict[str, list[str]], weights: dict[str, float], pairs: Sequence[tuple[int, int]]) -> list[float]:
    """Weighted mean likeness, each pair's over the columns that both fill."""
    import numpy as np
    from rapidfuzz.distance import OSA
    from rapidfuzz.process import cpdist

    if not pairs:
        return []
    left, right = (np.array(side) for side in zip(*pairs, strict=True))
    total, evidence = np.zeros(len(pairs)), np.zeros(len(pairs))
    for name, cells in columns.items():
        texts = np.array(cells, dtype=object)
        both = (texts[left] != "") & (texts[right] != "")
        alike = np.zeros(len(pairs))
        alike[both] = cpdist(
            texts[left][both], texts[right][both], scorer=OSA.normalized_similarity, dtype=np.float32, workers=1
        )
        total += weights[name] * alike
        evidence += weights[name] * both
    return (total / np.maximum(evidence, 1e-9)).tolist()


def _groups(links: Sequence[Link], rows: int) -> list[list[int]]:
    """Connected records, sorted."""
    parent = list(range(rows))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for link in links:
        a, b = root(link.left), root(link.right)
        parent[max(a, b)] = min(a, b)
    groups: dict[int, list[int]] = defaultdict(list)
    for row in sorted({row for link in links for row in (link.left, link.right)}):
        groups[root(row)].append(row)
    return [groups[key] for key in sorted(groups)]
