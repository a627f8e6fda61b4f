"""Errors in the cells of a table found and repaired from the table alone.

Columns that determine others are discovered in the dirty data as approximate functional dependencies (TANE, Huhtala
et al. 1999: a dependency holds up to a share of the rows). Each dependency votes for a cell: the values its row's group
has in the other rows. The votes are averaged (co-occurrence statistics are a signal of HoloClean too, Rekatsinas et al.
2017, which learns their weights; here they are equal), and a cell whose groups agree on another value is repaired by
it. A cell that no dependency reaches goes toward the one frequent value of its column that it may be a misspelling of.
A cell without a clear majority stays.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from llm_assets.data.table_config import RepairConfig

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@dataclass(frozen=True)
class Dependency:
    """`determinant` -> `column`. accuracy: how often the rest of its group gives a row's value; base: how often the
    column's most frequent value does. An empty determinant is that value itself."""

    determinant: tuple[str, ...]
    column: str
    accuracy: float
    base: float


@dataclass(frozen=True)
class Repair:
    row: int
    column: str
    before: str
    after: str
    support: float  # mean share of the votes
    by: str  # "dependency" or "spelling"


@dataclass(frozen=True)
class RepairReport:
    dependencies: list[Dependency]
    repairs: list[Repair] = field(default_factory=list)

    def counts(self) -> dict[str, int]:
        """Repairs a column, most first."""
        found: dict[str, int] = defaultdict(int)
        for repair in self.repairs:
            found[repair.column] += 1
        return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))

    def samples(self, most: int = 12) -> list[dict[str, str]]:
        step = max(1, len(self.repairs) // most)
        return [
            {"what": f"{item.column} ({item.by}, {item.support:.2f})", "before": item.before, "after": item.after}
            for item in self.repairs[::step][:most]
        ]


@dataclass(frozen=True)
class _Column:
    """A column as codes: `codes[row]` is the place of the row's text in `values`; blank: the code of no text, or -1."""

    name: str
    codes: np.ndarray
    values: list[str]
    counts: np.ndarray
    blank: int


def repair_table(table: pa.Table, config: RepairConfig) -> tuple[pa.Table, RepairReport]:
    """(repaired table, report). Columns of text are repaired, others are left alone; blanks are neither filled nor
    made. Deterministic; reads nothing but the table."""
    import pyarrow as pa

    columns = _columns(table)
    dependencies = find_dependencies(columns, config)
    repairs: dict[tuple[int, str], Repair] = {}
    for column in columns.values():
        own = [dependency for dependency in dependencies if dependency.column == column.name]
        repairs |= _voted(column, own, columns, config)
        repairs |= {key: found for key, found in _respelled(column, config).items() if key not in repairs}
    ordered = [repairs[key] for key in sorted(repairs, key=lambda key: (key[0], table.schema.names.index(key[1])))]
    for name in dict.fromkeys(item.column for item in ordered):
        cells = table[name].to_pylist()
        for item in ordered:
            if item.column == name:
                cells[item.row] = item.after
        place = table.schema.get_field_index(name)
        table = table.set_column(place, table.schema.field(name), pa.array(cells, table.schema.field(name).type))
    return table, RepairReport(dependencies, ordered)


def find_dependencies(columns: dict[str, _Column], config: RepairConfig) -> list[Dependency]:
    """Determinants of one column, of two where the second makes a clear difference, that predict held-out rows better
    than the most frequent value does."""
    found: list[Dependency] = []
    rows = len(next(iter(columns.values())).codes) if columns else 0
    narrow = [column for column in columns.values() if 1 < len(column.values) <= config.max_second_values]
    for target in columns.values():
        base = _base(target)
        own: list[Dependency] = []
        for column in columns.values():
            if column is target:
                continue
            accuracy, reached = _accuracy(column.codes, column.blank, target)
            if reached < config.min_reached * rows or accuracy < config.min_accuracy:
                continue
            if 1 - accuracy > (1 - base) * config.max_error_left:
                continue
            best = Dependency((column.name,), target.name, accuracy, base)
            for second in narrow:
                if second is column or second is target:
                    continue
                joined, blank = _joined(column, second)
                finer, finer_reached = _accuracy(joined, blank, target)
                better = 1 - finer < (1 - best.accuracy) * config.max_error_left
                if finer_reached >= config.min_reached * rows and better:
                    best = Dependency((column.name, second.name), target.name, finer, base)
            own.append(best)
        if not own and base >= config.min_accuracy:
            own = [Dependency((), target.name, base, base)]
        found += own
    return found


def _columns(table: pa.Table) -> dict[str, _Column]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found = {}
    for name in table.schema.names:
        if not (pa.types.is_string(table.schema.field(name).type) or pa.types.is_large_string(table[name].type)):
            continue
        encoded = pc.fill_null(table[name].combine_chunks(), "").dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        values = encoded.dictionary.to_pylist()
        blank = values.index("") if "" in values else -1
        if len(values) > (blank >= 0):
            found[name] = _Column(name, codes, values, np.bincount(codes, minlength=len(values)), blank)
    return found


def _base(column: _Column) -> float:
    counts = column.counts.copy()
    if column.blank >= 0:
        counts[column.blank] = 0
    return float(counts.max() / max(counts.sum(), 1))


def _joined(first: _Column, second: _Column) -> tuple[np.ndarray, int]:
    """Codes of the pairs of two columns; a pair with a blank is blank (code 0)."""
    import numpy as np

    pairs = first.codes * len(second.values) + second.codes + 1
    pairs[(first.codes == first.blank) | (second.codes == second.blank)] = 0
    codes = np.unique(pairs, return_inverse=True)[1]
    return codes, 0 if (pairs == 0).any() else -1


def _accuracy(groups: np.ndarray, blank: int, target: _Column) -> tuple[float, int]:
    """(share of rows whose value is the most frequent among the others of their group, rows that have others)."""
    import numpy as np

    wanted = (groups != blank) & (target.codes != target.blank)
    keys, counts = np.unique(groups[wanted] * len(target.values) + target.codes[wanted], return_counts=True)
    if not len(keys):
        return 0.0, 0
    owner = keys // len(target.values)
    starts = np.flatnonzero(np.r_[True, owner[1:] != owner[:-1]])
    sizes = np.add.reduceat(counts, starts)
    tops = np.maximum.reduceat(counts, starts)
    others = np.where(counts == np.repeat(tops, np.diff(np.r_[starts, len(counts)])), 0, counts)
    seconds = np.maximum.reduceat(others, starts)
    reached = int(sizes[sizes > 1].sum())
    right = int(tops[(sizes > 1) & (tops - 1 > seconds) | (tops == sizes) & (sizes > 1)].sum())
    return right / max(reached, 1), reached


def _voted(
    column: _Column, dependencies: list[Dependency], columns: dict[str, _Column], config: RepairConfig
) -> dict[tuple[int, str], Repair]:
    """Repairs of the cells whose groups agree on another value."""
    import numpy as np

    ballots = []
    suspects: set[int] = set()
    for dependency in dependencies:
        groups, blank = _groups(dependency, columns, len(column.codes))
        tally: dict[int, list[tuple[int, int]]] = defaultdict(list)
        wanted = (groups != blank) & (column.codes != column.blank)
        keys, counts = np.unique(groups[wanted] * len(column.values) + column.codes[wanted], return_counts=True)
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            tally[key // len(column.values)].append((count, key % len(column.values)))
        tops = np.full(int(groups.max(initial=0)) + 1, -1)
        for group, found in tally.items():
            tops[group] = max(found, key=lambda pair: (pair[0], -pair[1]))[1]
        suspects |= set(np.flatnonzero(wanted & (tops[groups] != column.codes)).tolist())
        ballots.append((groups, blank, tally))
    repairs: dict[tuple[int, str], Repair] = {}
    for row in sorted(suspects):
        current = int(column.codes[row])
        shares: dict[int, float] = defaultdict(float)
        voters = 0
        for groups, blank, tally in ballots:
            group = int(groups[row])
            others = [(count - (value == current), value) for count, value in tally.get(group, [])]
            size = sum(count for count, _ in others)
            if group == blank or size < config.min_votes:
                continue
            voters += 1
            for count, value in others:
                shares[value] += count / size
        if not voters:
            continue
        best = max(shares, key=lambda value: (shares[value], -value))
        support = shares[best] / voters
        alone = not dependencies[0].determinant
        near = _similarity(column.values[current], column.values[best])
        if best == current or support < config.min_support or (alone and near < config.min_similarity):
            continue
        before, after = column.values[current], column.values[best]
        repairs[row, column.name] = Repair(row, column.name, before, after, support, "dependency")
    return repairs


def _groups(dependency: Dependency, columns: dict[str, _Column], rows: int) -> tuple[Any, int]:
    import numpy as np

    parts = [columns[name] for name in dependency.determinant]
    if not parts:
        return np.zeros(rows, dtype=np.int64), -1
    return (parts[0].codes, parts[0].blank) if len(parts) == 1 else _joined(parts[0], parts[1])


def _respelled(column: _Column, config: RepairConfig) -> dict[tuple[int, str], Repair]:
    """Repairs of rare values that are one edit from one frequent value only; a repeated value is rarely a slip."""
    counts = column.counts.tolist()
    frequent = [n for n, count in enumerate(counts) if n != column.blank and count >= config.min_frequent]
    repairs: dict[tuple[int, str], Repair] = {}
    for n, count in enumerate(counts):
        text = column.values[n]
        if n == column.blank or count > config.max_rare or not _odd(text, [column.values[place] for place in frequent]):
            continue
        near = [place for place in frequent if _one_slip(text, column.values[place])]
        if len(near) != 1 or len(text) < config.min_length:
            continue
        for row in (column.codes == n).nonzero()[0].tolist():
            after = column.values[near[0]]
            repairs[row, column.name] = Repair(row, column.name, text, after, 1.0, "spelling")
    return repairs


def _one_slip(text: str, right: str) -> bool:
    """One edit apart. Where there are digits, only a letter in a digit's place is a slip: 514 is not a misspelt 14."""
    from rapidfuzz.distance import Levenshtein

    if Levenshtein.distance(text, right, score_cutoff=1) > 1:
        return False
    if not any(char.isdigit() for char in text + right):
        return True
    pairs = [(a, b) for a, b in zip(text, right, strict=False) if a != b]
    return len(text) == len(right) and not pairs[0][0].isdigit()


def _odd(text: str, frequent: list[str]) -> bool:
    """It has a shape (digits, letters, others) that no frequent value has: `1x0%` among `100%`, but not `99%`."""
    return _shape(text) not in {_shape(other) for other in frequent}


def _shape(text: str) -> str:
    return "".join("9" if char.isdigit() else "a" if char.isalpha() else char for char in text)


def _similarity(left: str, right: str) -> float:
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.normalized_similarity(left, right)
