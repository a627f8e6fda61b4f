"""The operation that makes columns of keys: rows with equal cells in the columns that stay become one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import Prepared, operation
from llm_assets.data.openrefine.row import Row, in_parts, opened, rows_of, size_of
from llm_assets.data.openrefine.runs import Item, Runs
from llm_assets.data.openrefine.table import PART, Table, together
from llm_assets.data.openrefine.values import Value, combination, is_data, text_of


@operation("key-value-columnize")
def key_value_columnize(fields: Fields) -> Prepared:
    """Rows with the same values in the columns that stay become one. With no such columns, the first key found starts
    a row each time it comes again.

    The rows are sorted on disk, by what becomes one row and then by where that begins. What is held is the keys.
    """
    key, value = fields.text("keyColumnName"), fields.text("valueColumnName")
    note = fields.text("noteColumnName", "")

    def through(tables: Iterator[Table], folder: Path | None) -> Iterator[tuple[Table, int]]:
        found = opened(tables)
        if found is None:
            return
        head, parts = found
        for name in (key, value, *([note] if note else [])):
            head.column(name)
        stay = [name for name in head.names if name not in (key, value, note)]
        columns, place = _Columns(stay, note), 0
        turn = None if stay else _Turn()
        with Runs(itemgetter(0), folder) as grouped, Runs(itemgetter(0), folder) as done:
            for table in parts:
                one, alone = list[Item](), list[Item]()
                notes = table.column(note) if note else [None] * table.rows
                cells = zip(table.column(key), table.column(value), notes, strict=True)
                rest = rows_of(table.with_columns({name: table.columns[name] for name in stay}))
                for row, (own, cell, remark) in zip(rest, cells, strict=True):
                    if is_data(own):
                        remark = remark if is_data(remark) else None
                        columns.add(text_of(own), remark is not None)
                        group = turn.group_of(text_of(own)) if turn else combination(row.cells).hex()
                        one.append([group, place, row, text_of(own), cell, remark])
                    elif turn:
                        turn.ends()
                    else:
                        alone.append([place, row, []])
                    place += 1
                grouped.add(one)
                done.add(alone)
            rows = (columns.one_of(pairs) for _, pairs in groupby(grouped.merged(), itemgetter(0)))
            for some in together(rows, PART, _size):
                done.add(some)
            changed = place
            for part, _ in in_parts(columns.names, ((columns.filled(*item), 0) for item in done.merged())):
                yield part, changed
                changed = 0

    return Prepared(None, "rows", through=through)


def _size(item: Item) -> int:
    _, row, cells = item
    return size_of(Row([*row.cells, *(cell for _, cell in cells)]))


class _Turn:
    """The number of the row that a pair goes to, where no column stays: the first since the last start that has no such
    key."""

    def __init__(self) -> None:
        self._first: str | None = None  # key of all
        self._start = self._rows = 0  # the row that was started last; all rows
        self._seen: dict[str, int] = {}  # since then

    def group_of(self, key: str) -> int:
        self._first = key if self._first is None else self._first
        if key == self._first:
            self.ends()
        row = self._start + self._seen.get(key, 0)
        self._seen[key] = self._seen.get(key, 0) + 1
        self._rows = max(self._rows, row + 1)
        return row

    def ends(self) -> None:
        """The next pair starts a row."""
        self._start, self._seen = self._rows, {}


class _Columns:
    """The columns of the keys, in the order in which they come; behind all of them those of the notes."""

    def __init__(self, stay: Sequence[str], note: str) -> None:
        self._note, self._taken = note, set(stay)
        self._stay, self._made, self._noted = list(stay), list[str](), list[str]()
        self._value_at = dict[str, int]()  # key -> the place of its column among those made
        self._note_at = dict[str, int]()  # among those of notes

    def add(self, key: str, noted: bool) -> None:
        """A key that was found, and whether there is a note with it."""
        if key not in self._value_at:
            self._value_at[key] = len(self._made)
            self._made.append(self._unused(key))
        if noted and key not in self._note_at:
            self._note_at[key] = len(self._noted)
            self._noted.append(self._unused(f"{self._note} : {key}"))

    def _unused(self, name: str) -> str:
        found, n = name, 2
        while found in self._taken:
            found, n = f"{name}{n}", n + 1
        self._taken.add(found)
        return found

    @property
    def names(self) -> list[str]:
        return [*self._stay, *self._made, *self._noted]

    def one_of(self, pairs: Iterable[Item]) -> Item:
        """[place of the first, its row with the columns that stay, (place behind these, cell) of all]."""
        first: Item | None = None
        cells = dict[int, Value]()
        for pair in pairs:
            first = first or pair
            _, _, _, key, cell, remark = pair
            cells[self._value_at[key]] = cell
            if remark is not None:
                at = len(self._made) + self._note_at[key]
                cells[at] = f"{text_of(cells[at])};{text_of(remark)}" if at in cells else remark
        assert first is not None
        return [first[1], Row(*first[2]), list(cells.items())]

    def filled(self, place: int, row: Sequence[Value], cells: Iterable[tuple[int, Value]]) -> Row:
        """A row as `one_of` has it, with all columns."""
        found = Row(*row)
        behind: list[Value] = [None] * (len(self._made) + len(self._noted))
        for at, cell in cells:
            behind[at] = cell
        return found._replace(cells=[*found.cells, *behind])
