"""Errors in the cells of a table found and repaired from the table alone.

Each dependency between columns votes for a cell: the values its row's group has in the other rows. The votes are
averaged (co-occurrence statistics are a signal of HoloClean too, Rekatsinas et al. 2017, which learns their weights;
here they are equal), and a cell whose groups agree on another value is repaired by it. A cell that no dependency
reaches goes toward the one frequent value of its column that it may be a misspelling of. A cell without a clear
majority stays.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.coded import Coded, coded
from llm_assets.data.dependencies import Dependency, find_dependencies, group_values, groups_of
from llm_assets.data.executor import InOrder
from llm_assets.data.respell import respelled
from llm_assets.data.stored import Stored, Storing
from llm_assets.data.table_config import RepairConfig

if TYPE_CHECKING:
    import pyarrow as pa

TOGETHER = 2**17  # suspicious cells that are judged together


@dataclass(frozen=True)
class Repairs:
    """The cells of a column that are repaired, 21 bytes each. rows: ascending, int64; after: codes of values of
    `column`, int32; support: mean share of the votes, float64; voted: by a dependency, else by spelling."""

    column: Coded
    rows: np.ndarray
    after: np.ndarray
    support: np.ndarray
    voted: np.ndarray


@dataclass(frozen=True)
class RepairReport:
    """counts: repairs a column, most first; samples: some of them, evenly spread over the rows."""

    dependencies: list[Dependency]
    counts: dict[str, int]
    samples: list[dict[str, str]]


def repair(
    table: Stored, config: RepairConfig, out: Path, each: InOrder, samples: int = 12
) -> tuple[Stored, RepairReport]:
    """(the repaired rows, in the file `out`; report). Columns of text are repaired, others are left alone; blanks are
    neither filled nor made. Deterministic; reads nothing but the table. Columns are worked on by `each`.

    Held in memory: four bytes a row for each column of text, sixteen for each distinct value, and for the pair of
    columns that is looked at some fifty bytes a row. samples: how many the report shows, at most.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        dependencies, found = find_repairs(table, config, Path(folder), each)
        total = sum(len(repairs.rows) for repairs in found.values())
        step, done, shown = max(1, total // samples), 0, list[dict[str, str]]()
        with Storing(out, table.schema) as repaired:
            first = 0
            for numbers, batch in table.batches():
                mended, cells = _mended(batch, first, found)
                for row, name, place in cells[-done % step :: step]:
                    if len(shown) < samples:
                        shown.append(_sample(found[name], name, place, batch[name][row - first].as_py()))
                done += len(cells)
                repaired.add(numbers, mended)
                first += batch.num_rows
    counts = sorted(((name, len(repairs.rows)) for name, repairs in found.items()), key=lambda one: (-one[1], one[0]))
    return repaired.stored(), RepairReport(dependencies, {name: count for name, count in counts if count}, shown)


def find_repairs(
    table: Stored, config: RepairConfig, folder: Path, each: InOrder
) -> tuple[list[Dependency], dict[str, Repairs]]:
    """(dependencies, what is repaired in each column). The distinct texts of the columns are put into `folder`."""
    import pyarrow as pa

    places = [
        place
        for place, field in enumerate(table.schema)
        if pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
    ]
    every = zip(places, each(partial(_coded, table, folder), places), strict=True)
    columns = {table.schema.names[at]: column for at, column in every if len(column.counts) > (column.blank >= 0)}
    dependencies = find_dependencies(columns, config, each)
    return dependencies, dict(
        zip(columns, each(partial(_repairs, columns, dependencies, config), columns), strict=True)
    )


def _coded(table: Stored, folder: Path, place: int) -> Coded:
    return coded(partial(_strings, table, table.schema.names[place]), folder / str(place))


def _repairs(
    columns: Mapping[str, Coded], dependencies: Sequence[Dependency], config: RepairConfig, name: str
) -> Repairs:
    """Those of one column."""
    column = columns[name]
    own = [dependency for dependency in dependencies if dependency.column == name]
    rows, after, support = _voted(column, own, columns, config)
    others, slips = respelled(column, config)
    new = ~np.isin(others, rows)
    others, slips = others[new], slips[new]
    every = np.concatenate([rows, others])
    order = np.argsort(every)
    return Repairs(
        column,
        every[order],
        np.concatenate([after, slips])[order],
        np.concatenate([support, np.ones(len(others))])[order],
        order < len(rows),
    )


def _strings(table: Stored, name: str) -> Iterator[pa.Array]:
    import pyarrow as pa

    return (cells.cast(pa.string()) for cells in table.column(name))


def _mended(
    batch: pa.RecordBatch, first: int, found: Mapping[str, Repairs]
) -> tuple[pa.RecordBatch, list[tuple[int, str, int]]]:
    """(the batch, whose first row is row `first`, repaired; (row, column, place among the repairs) of its repairs)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cells: list[tuple[int, int, str, int]] = []
    for at, name in enumerate(batch.schema.names):
        if name not in found:
            continue
        repairs = found[name]
        low, high = np.searchsorted(repairs.rows, [first, first + batch.num_rows])
        if low == high:
            continue
        mask = np.zeros(batch.num_rows, dtype=bool)
        mask[repairs.rows[low:high] - first] = True
        kind = batch.schema.field(name).type
        texts = repairs.column.texts.take(pa.array(repairs.after[low:high])).cast(kind)
        column = pc.replace_with_mask(batch.column(at), pa.array(mask), texts)
        batch = batch.set_column(at, batch.schema.field(name), column)
        cells += [(row, at, name, place) for place, row in enumerate(repairs.rows[low:high].tolist(), int(low))]
    return batch, [(row, name, place) for row, _, name, place in sorted(cells)]


def _sample(repairs: Repairs, name: str, place: int, before: str) -> dict[str, str]:
    by = "dependency" if repairs.voted[place] else "spelling"
    (after,) = repairs.column.texts_of([repairs.after[place]])
    return {"what": f"{name} ({by}, {repairs.support[place]:.2f})", "before": before, "after": after}


class _Ballot:
    """The votes of one dependency: for each group how many rows have each value."""

    def __init__(self, dependency: Dependency, columns: Mapping[str, Coded], column: Coded) -> None:
        self.groups, self.blank = groups_of(dependency, columns)
        self.keys, self.counts = group_values(self.groups, self.blank, column)
        self._distinct = len(column.counts)
        owner = self.keys // self._distinct
        # Of each group the two most frequent values, of equally frequent ones the one that came first.
        order = np.lexsort((self.keys, -self.counts, owner))
        owners = owner[order]
        starts = np.flatnonzero(np.concatenate([[len(owners) > 0], owners[1:] != owners[:-1]]))
        self._owners, self._ends = owners[starts], np.append(starts[1:], len(owners))
        self._first = order[starts]
        self._second = np.where(starts + 1 < self._ends, order[np.minimum(starts + 1, len(order) - 1)], -1)
        self._sizes = np.add.reduceat(self.counts[order], starts) if len(starts) else np.zeros(0, dtype=np.int64)

    def suspects(self, column: Coded) -> np.ndarray:
        """Rows whose value is not the most frequent of their group: bool [rows]."""
        wanted = (self.groups != self.blank) & (column.codes != column.blank)
        tops = np.full(int(self.groups.max(initial=0)) + 1, -1, dtype=np.int32)
        tops[self._owners] = self.keys[self._first] % self._distinct
        found: np.ndarray = wanted & (tops[self.groups] != column.codes)
        return found

    def among(self, rows: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(the other rows of each row's group, 0 where it has no group; the value that half of them or more have, of
        which alone a repair can come, or -1)."""
        groups = self.groups[rows]
        place = np.minimum(np.searchsorted(self._owners, groups), len(self._owners) - 1)
        there = (self._owners[place] == groups) & (groups != self.blank)
        others = np.where(there, self._sizes[place] - 1, 0)
        first, second = self._first[place], self._second[place]
        best = np.where(self.keys[first] % self._distinct == current, second, first)
        often = there & (best >= 0) & (2 * self.counts[best] >= others)
        return others, np.where(often, self.keys[best] % self._distinct, -1)

    def votes(self, rows: np.ndarray, current: np.ndarray, values: np.ndarray) -> np.ndarray:
        """How many of the other rows of each row's group have the value."""
        wanted = self.groups[rows].astype(np.int64) * self._distinct + values
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return np.where(self.keys[place] == wanted, self.counts[place], 0) - (values == current)


def _voted(
    column: Coded, dependencies: Sequence[Dependency], columns: Mapping[str, Coded], config: RepairConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows, codes of the values they get, support) of the cells whose groups agree on another value."""
    ballots = [_Ballot(dependency, columns, column) for dependency in dependencies]
    ballots = [ballot for ballot in ballots if len(ballot.keys)]
    doubted = np.zeros(len(column.codes), dtype=bool)
    for ballot in ballots:
        doubted |= ballot.suspects(column)
    suspects = np.flatnonzero(doubted)
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0))]
    for first in range(0, len(suspects), TOGETHER):
        rows = suspects[first : first + TOGETHER]
        current = column.codes[rows]
        among = [ballot.among(rows, current) for ballot in ballots]
        voters = sum(((others >= config.min_votes) for others, _ in among), np.zeros(len(rows), dtype=np.int64))
        after, best = np.full(len(rows), -1, dtype=np.int32), np.zeros(len(rows))
        # Support is a mean share of more than a half, so it is that of a value with more than half of some votes, and
        # no two values have it.
        for _, values in among:
            shares = np.zeros(len(rows))
            for ballot, (others, _) in zip(ballots, among, strict=True):
                votes = ballot.votes(rows, current, values)
                shares += np.where(others >= config.min_votes, votes / np.maximum(others, 1), 0)
            support = shares / np.maximum(voters, 1)
            clear = (voters > 0) & (values >= 0) & (values != current) & (support >= config.min_support)
            after[clear], best[clear] = values[clear], support[clear]
        if not dependencies[0].determinant:
            after[~_alike(column, current, after, config.min_similarity)] = -1
        clear = after >= 0
        found.append((rows[clear], after[clear], best[clear]))
    return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[return-value]


def _alike(column: Coded, before: np.ndarray, after: np.ndarray, least: float) -> np.ndarray:
    """Whether the two values (-1: none) are as like as that: bool."""
    from rapidfuzz.distance import Levenshtein

    pairs, places = np.unique(np.stack([before, np.maximum(after, 0)]), axis=1, return_inverse=True)
    left, right = column.texts_of(pairs[0]), column.texts_of(pairs[1])
    near = [Levenshtein.normalized_similarity(a, b) >= least for a, b in zip(left, right, strict=True)]
    found: np.ndarray = np.array(near, dtype=bool)[places.reshape(-1)] & (after >= 0)
    return found
