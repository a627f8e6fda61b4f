"""Columns of a table that determine others, discovered in dirty data as approximate functional dependencies.

TANE (Huhtala et al. 1999): a dependency holds up to a share of the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from llm_assets.data.coded import Coded
from llm_assets.data.executor import InOrder
from llm_assets.data.table_config import RepairConfig

COUNTED = 4  # numbers of eight bytes a row that are held so that pairs of values need not be sorted


@dataclass(frozen=True)
class Dependency:
    """`determinant` -> `column`. accuracy: how often the rest of its group gives a row's value; base: how often the
    column's most frequent value does. An empty determinant is that value itself."""

    determinant: tuple[str, ...]
    column: str
    accuracy: float
    base: float


def find_dependencies(columns: Mapping[str, Coded], config: RepairConfig, each: InOrder) -> list[Dependency]:
    """Determinants of one column, of two where the second makes a clear difference, that predict held-out rows better
    than the most frequent value does. Columns are worked on by `each`."""
    return list(chain.from_iterable(each(partial(_determinants, columns, config), columns)))


def _determinants(columns: Mapping[str, Coded], config: RepairConfig, name: str) -> list[Dependency]:
    """Those of one column."""
    found: list[Dependency] = []
    target, base, rows = columns[name], _base(columns[name]), len(columns[name].codes)
    narrow = {name: one for name, one in columns.items() if 1 < len(one.counts) <= config.max_second_values}
    for first, column in columns.items():
        if first == name or _repeated(column) < config.min_reached * rows or not _repeated(target):
            continue  # without repeated values there is nothing to see
        accuracy, reached = _accuracy(column.codes, column.blank, target)
        if reached < config.min_reached * rows or accuracy < config.min_accuracy:
            continue
        if 1 - accuracy > (1 - base) * config.max_error_left:
            continue
        best = Dependency((first,), name, accuracy, base)
        for second, other in narrow.items():
            if second in (first, name):
                continue
            finer, finer_reached = _accuracy(*_joined(column, other), target)
            better = 1 - finer < (1 - best.accuracy) * config.max_error_left
            if finer_reached >= config.min_reached * rows and better:
                best = Dependency((first, second), name, finer, base)
        found.append(best)
    if not found and base >= config.min_accuracy:
        found = [Dependency((), name, base, base)]
    return found


def groups_of(dependency: Dependency, columns: Mapping[str, Coded]) -> tuple[np.ndarray, int]:
    """(the group of each row, the group of a row that has a blank in it or -1)."""
    parts = [columns[name] for name in dependency.determinant]
    if not parts:
        return np.zeros(len(columns[dependency.column].codes), dtype=np.int32), -1
    return (parts[0].codes, parts[0].blank) if len(parts) == 1 else _joined(parts[0], parts[1])


def group_values(groups: np.ndarray, blank: int, target: Coded) -> tuple[np.ndarray, np.ndarray]:
    """(group * distinct values of `target` + value, sorted int64; rows of each) where neither is blank."""
    wanted = (groups != blank) & (target.codes != target.blank)
    keys = groups[wanted].astype(np.int64)
    keys *= len(target.counts)
    keys += target.codes[wanted]
    if int(keys.max(initial=0)) <= COUNTED * len(groups):  # counted at a linear cost
        every = np.bincount(keys)
        found = np.flatnonzero(every)
        return found, every[found]
    keys.sort()
    starts = np.flatnonzero(np.concatenate([[len(keys) > 0], keys[1:] != keys[:-1]]))
    return keys[starts], np.diff(starts, append=len(keys))


def _base(column: Coded) -> float:
    counts = column.counts.copy()
    if column.blank >= 0:
        counts[column.blank] = 0
    return float(counts.max() / max(counts.sum(), 1))


def _repeated(column: Coded) -> int:
    """Rows whose value another row has."""
    return int(column.counts[(column.counts > 1) & (np.arange(len(column.counts)) != column.blank)].sum())


def _joined(first: Coded, second: Coded) -> tuple[np.ndarray, int]:
    """Codes of the pairs of two columns; a pair with a blank is blank (code 0)."""
    pairs = first.codes.astype(np.int64)
    pairs *= len(second.counts)
    pairs += second.codes
    pairs += 1
    pairs[(first.codes == first.blank) | (second.codes == second.blank)] = 0
    blank = 0 if (pairs == 0).any() else -1
    if int(pairs.max(initial=0)) <= COUNTED * len(pairs):
        there = np.bincount(pairs) > 0
        return (np.cumsum(there, dtype=np.int32) - 1)[pairs], blank
    return np.unique(pairs, return_inverse=True)[1].astype(np.int32), blank


def _accuracy(groups: np.ndarray, blank: int, target: Coded) -> tuple[float, int]:
    """(share of rows whose value is the most frequent among the others of their group, rows that have others)."""
    keys, counts = group_values(groups, blank, target)
    if not len(keys):
        return 0.0, 0
    owner = keys // len(target.counts)
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    sizes = np.add.reduceat(counts, starts)
    tops = np.maximum.reduceat(counts, starts)
    others = np.where(counts == np.repeat(tops, np.diff(np.r_[starts, len(counts)])), 0, counts)
    seconds = np.maximum.reduceat(others, starts)
    reached = int(sizes[sizes > 1].sum())
    right = int(tops[(sizes > 1) & (tops - 1 > seconds) | (tops == sizes) & (sizes > 1)].sum())
    return right / max(reached, 1), reached
