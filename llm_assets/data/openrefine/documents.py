"""A history as the first step of `clean`: over batches of raw documents."""

from __future__ import annotations

import hashlib
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.data.openrefine.files import arrow_part
from llm_assets.data.openrefine.halves import without_halves
from llm_assets.data.openrefine.history import ROW_BY_ROW, Step, prepare, read_history, replay
from llm_assets.data.openrefine.stored_rows import works_alone
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.values import text_of
from llm_assets.data.steps import SHOWN, Report, rejected_rows, with_column
from llm_assets.data.stored import Ahead, Storing, by_number
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ["id", "text", "label", "source", "uri", "licence"]
TAKEN_BACK = ("text", "label")
HALF = "half"  # where a row has half of a surrogate pair, beside what is taken back
STEP = "openrefine"


def replay_batches(
    batches: Iterable[pa.RecordBatch],
    history: Path,
    report: Report,
    reject: Callable[[pa.RecordBatch], None],
    rows: int = 1000,
) -> Iterator[pa.RecordBatch]:
    """The batches with the texts and labels that the history makes, without the rows it removes: `reject` gets those.

    The history sees the columns id, text, label, source, uri and licence and may make others; text and label are what
    is taken back. Operations that stream work batch by batch; for any other all documents wait on disk. Raises
    UserError for one that makes several rows of one, or one of several. rows: of a batch at most.
    """
    steps = read_history(history, ROW_BY_ROW)
    streams = all(step.prepared.needs == "rows" for step in steps)
    streams = streams and not any(step.prepared.survey or step.prepared.through for step in steps)
    count = 0
    for raw, numbers, after in (_one_by_one if streams else _all_first)(steps, batches, history):
        count += raw.num_rows
        kept, gone = _taken_back(raw, numbers, after, report)
        report.rejected += gone.num_rows
        report.note(gone)
        if gone.num_rows:
            reject(gone)
        for begin in range(0, kept.num_rows, rows):
            yield kept.slice(begin, rows)
    report.rows_in, report.kept = count, count - report.rejected
    report.seconds = sum(step.seconds for step in steps)


class ReplayAlone:
    """(place of the first document, documents) -> (those that stay with their texts and labels, those that go, what
    happened), by a history of which `works_alone`."""

    def __init__(self, document: list[Any], history: Path) -> None:
        self._document, self._history, self._steps = document, history, prepare(document)

    def __reduce__(self) -> tuple[type[ReplayAlone], tuple[list[Any], Path]]:
        return ReplayAlone, (self._document, self._history)

    def __call__(self, start: int, raw: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch, Report]:
        steps, report = [replace(step, rows_in=start) for step in self._steps], Report()
        (table,) = replay(steps, [arrow_part(raw.select(COLUMNS), start)])
        places = np.array(table.origin, dtype=np.int64) - start
        kept, gone = _taken_back(raw, places, _after(table, self._history), report)
        report.note(gone)
        report.rows_in, report.kept, report.rejected = raw.num_rows, kept.num_rows, gone.num_rows
        report.seconds = sum(step.seconds for step in steps)
        return kept, gone, report


def replay_alone(history: Path) -> ReplayAlone | None:
    """What replays batches of documents one without the other, in any process; None where the history cannot."""
    steps = read_history(history, ROW_BY_ROW)
    return ReplayAlone([step.item for step in steps], history) if works_alone(steps) else None


# Raw rows, the places of those that the history leaves, and the texts and labels of these (`_after`).
Replayed = Iterator[tuple["pa.RecordBatch", np.ndarray, "pa.RecordBatch"]]


def _one_by_one(steps: list[Step], batches: Iterable[pa.RecordBatch], history: Path) -> Replayed:
    waiting: deque[pa.RecordBatch] = deque()

    def parts() -> Iterator[Table]:
        start = 0
        for batch in batches:
            waiting.append(batch)
            yield arrow_part(batch.select(COLUMNS), start)
            start += batch.num_rows

    first = 0
    for table in replay(steps, parts()):
        raw = waiting.popleft()
        yield raw, np.array(table.origin, dtype=np.int64) - first, _after(table, history)
        first += raw.num_rows


def _all_first(steps: list[Step], batches: Iterable[pa.RecordBatch], history: Path) -> Replayed:
    """The rows that stay come in the order of the history, those that go when their time would have been."""
    import pyarrow as pa

    source = iter(batches)
    head = next(source, None)
    if head is None:
        return
    with tempfile.TemporaryDirectory(prefix="llm-assets-replay-") as name:
        folder = Path(name)
        taken = pa.schema([("place", pa.int64()), *((column, pa.string()) for column in (*TAKEN_BACK, HALF))])
        with Storing(folder / "raw.arrow", head.schema) as raw, Storing(folder / "after.arrow", taken) as after:

            def parts() -> Iterator[Table]:
                start = 0
                for batch in chain([head], source):
                    raw.add(np.arange(start, start + batch.num_rows), batch)
                    yield arrow_part(batch.select(COLUMNS), start)
                    start += batch.num_rows

            done = 0
            for table in replay(steps, parts(), folder):
                places = pa.array(np.arange(done, done + table.rows), pa.int64())
                columns = [places, *_after(table, history).columns]
                after.add(np.array(table.origin, dtype=np.int64), pa.record_batch(columns, schema=taken))
                done += table.rows
        everything, moved = raw.stored(), not after.stored().ascending
        ahead = Ahead(by_number(after.stored(), folder, everything.rows))
        with Storing(folder / "moved.arrow", pa.schema([*head.schema, *taken])) as elsewhere:
            for numbers, batch in everything.batches():
                own, found = ahead.until(int(numbers[-1]) + 1)
                texts = (
                    found.combine_chunks().to_batches()[0]
                    if found.num_rows
                    else pa.record_batch([pa.array([], field.type) for field in taken], schema=taken)
                )
                if not moved:
                    yield batch, own - numbers[0], texts.select(taken.names[1:])
                    continue
                rows = batch.take(pa.array(own - numbers[0]))
                elsewhere.add(
                    texts["place"].to_numpy(), pa.record_batch([*rows.columns, *texts.columns], elsewhere.schema)
                )
                gone = np.setdiff1d(numbers, own) - numbers[0]
                yield batch.take(pa.array(gone)), np.zeros(0, dtype=np.int64), texts.slice(0, 0).select(taken.names[1:])
        for _, batch in by_number(elsewhere.stored(), folder, done).batches():
            width = len(head.schema)
            texts = pa.record_batch(batch.columns[width + 1 :], names=taken.names[1:])
            yield batch.select(range(width)), np.arange(batch.num_rows), texts


def _after(table: Table, history: Path) -> pa.RecordBatch:
    """The texts and labels of a table, and where one of them has half of a surrogate pair."""
    import pyarrow as pa

    for name in TAKEN_BACK:
        if name not in table.columns:
            raise UserError(f"the history {history} ends without the column {name!r}, which documents need")
    whole, halves = without_halves(table.with_columns({name: table.columns[name] for name in TAKEN_BACK}))
    columns = ([None if cell is None else text_of(cell) for cell in cells] for cells in whole.columns.values())
    where = [halves.get(place) for place in range(table.rows)]
    return pa.record_batch([pa.array(column, pa.string()) for column in (*columns, where)], names=[*TAKEN_BACK, HALF])


def _taken_back(
    raw: pa.RecordBatch, places: np.ndarray, after: pa.RecordBatch, report: Report
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(documents after the history: those at `places`, documents that go: it removed them or cut a pair in them)."""
    import pyarrow as pa

    details = dict.fromkeys(range(raw.num_rows), "removed by the operation history")
    for place, half in zip(places.tolist(), after[HALF].to_pylist(), strict=True):
        if half is None:
            del details[place]
        else:
            details[place] = half
    whole = after[HALF].is_null()
    kept, after = raw.take(pa.array(places, pa.int64()).filter(whole)), after.filter(whole)
    changed = [False] * kept.num_rows
    for name in TAKEN_BACK:
        pairs = [((a or ""), (b or "")) for a, b in zip(kept[name].to_pylist(), after[name].to_pylist(), strict=True)]
        changed = [mark or a != b for mark, (a, b) in zip(changed, pairs, strict=True)]
        shown = next(((a[:SHOWN], b[:SHOWN]) for a, b in pairs if a != b), None)
        report.change = report.change or shown
        kept = with_column(kept, name, after[name])
    steps = [
        [*(old or []), *([STEP] if mark else [])] for old, mark in zip(kept["steps"].to_pylist(), changed, strict=True)
    ]
    report.changed += sum(changed)
    gone = raw.take(pa.array(list(details), pa.int64()))
    said = (pa.array(texts, pa.string()) for texts in ([STEP] * gone.num_rows, list(details.values())))
    return with_column(kept, "steps", pa.array(steps, pa.list_(pa.string()))), rejected_rows(gone, *said)


def history_state(history: Path) -> str:
    """The hash of a history: part of what the documents are computed from."""
    try:
        return hashlib.sha256(history.read_bytes()).hexdigest()[:24]
    except OSError as error:
        raise UserError(f"the operation history {history} cannot be read ({error.strerror})") from None
