"""A history over rows on disk; one that needs nothing but the row is replayed in any process, part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from llm_assets.data.executor import InOrder
from llm_assets.data.openrefine.files import arrow_part
from llm_assets.data.openrefine.halves import reject_halves, without_halves
from llm_assets.data.openrefine.history import ROW_BY_ROW, Step, prepare, read_history, replay
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.typed import Packed, packed, store_parts
from llm_assets.data.stored import Stored, Storing

if TYPE_CHECKING:
    import pyarrow as pa

# Operations that remember nothing from part to part and keep each row, so that the place of those behind is known, and
# some more, behind which it is not.
ALONE = {
    *("text-transform", "mass-edit", "column-addition", "column-rename", "column-removal", "column-multi-removal"),
    *("column-move", "column-move-first", "column-move-last", "column-move-left", "column-move-right"),
    *("column-reorder", "row-star", "row-flag"),
}
DROPPING = {"row-removal", "row-keep-matched"}


class Replayed(NamedTuple):
    """rows: as the history leaves them; halves: number of a row that is not among them -> where it has half of a
    surrogate pair; changed: cells."""

    rows: Packed
    halves: dict[int, str]
    changed: int


def works_alone(steps: Iterable[Step]) -> bool:
    """Whether parts of a table can be worked on one without the other."""
    dropped = False
    for step in steps:
        name, prepared = step.op.removeprefix("core/"), step.prepared
        if prepared.needs != "rows" or name not in ALONE | DROPPING or (dropped and prepared.needs_place):
            return False
        dropped = dropped or name in DROPPING
    return True


class Replay:
    """(place of the first row, numbers of the rows, rows) -> `Replayed`, by the operations of `document`."""

    def __init__(self, document: list[Any]) -> None:
        self._document, self._steps = document, prepare(document)

    def __reduce__(self) -> tuple[type[Replay], tuple[list[Any]]]:
        return Replay, (self._document,)

    def __call__(self, part: tuple[int, np.ndarray, pa.RecordBatch]) -> Replayed:
        start, numbers, batch = part
        steps = [replace(step, rows_in=start) for step in self._steps]
        (table,) = replay(steps, [replace(arrow_part(batch), origin=numbers.tolist())])
        whole, halves = _whole(table)
        return Replayed(packed(whole), halves, sum(step.changed for step in steps))


def _whole(table: Table) -> tuple[Table, dict[int, str]]:
    """(the rows that have no half of a surrogate pair, `Replayed.halves`): an expression can cut a pair."""
    mended, halves = without_halves(table)
    if not halves:
        return mended, {}
    whole = mended.take([place for place in range(table.rows) if place not in halves])
    return whole, {table.origin[place]: halves[place] for place in sorted(halves)}


def replay_stored(
    table: Stored, most: int, history: Path, folder: Path, gone: Storing, each: InOrder
) -> tuple[Stored, int]:
    """(the rows as the history leaves them, cells it changed); `gone` gets what it removes. most: above all numbers."""
    import pyarrow as pa

    steps = read_history(history, ROW_BY_ROW)
    if not table.rows:
        return table, 0
    waits = np.zeros(most, dtype=bool)  # rows of which nobody knows where they are
    for numbers, _ in table.batches([]):
        waits[numbers] = True
    changed = 0

    def reject(halves: dict[int, str]) -> None:
        reject_halves(gone, "openrefine", list(halves), list(halves.values()))
        waits[list(halves)] = False

    def placed() -> Iterator[tuple[int, np.ndarray, pa.RecordBatch]]:
        start = 0
        for numbers, batch in table.batches():
            yield start, numbers, batch
            start += len(numbers)

    def parts() -> Iterator[Packed]:
        nonlocal changed
        if works_alone(steps):
            for done in each(Replay([step.item for step in steps]), placed()):
                reject(done.halves)
                changed += done.changed
                yield done.rows
            return
        tables = (replace(arrow_part(batch), origin=numbers.tolist()) for numbers, batch in table.batches())
        for part in replay(steps, tables, folder):
            whole, halves = _whole(part)
            reject(halves)
            yield packed(whole)
        changed = sum(step.changed for step in steps)

    replayed = store_parts(parts(), folder, "openrefine")
    for numbers, _ in replayed.batches([]):
        waits[numbers] = False
    removed = np.flatnonzero(waits)
    for first in range(0, len(removed), 20_000):
        some = removed[first : first + 20_000]
        said = (pa.array([text] * len(some)) for text in ("openrefine", "removed by the operation history"))
        gone.add(some, pa.record_batch(list(said), names=["reason", "detail"]))
    return replayed, changed
