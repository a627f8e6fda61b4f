"""A history as the first step of `clean`: over batches of raw documents."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.data.openrefine.files import arrow_part
from llm_assets.data.openrefine.history import ROW_BY_ROW, read_history, replay
from llm_assets.data.openrefine.table import Table, concatenate
from llm_assets.data.openrefine.values import text_of
from llm_assets.data.steps import SHOWN, Report, rejected_rows, with_column
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ["id", "text", "label", "source", "uri", "licence"]
TAKEN_BACK = ("text", "label")
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
    is taken back. Operations that stream work batch by batch, any other waits for all documents. Raises UserError for
    one that makes several rows of one, or one of several. rows: of a batch at most.
    """
    import pyarrow as pa

    steps = read_history(history, ROW_BY_ROW)
    waiting: deque[pa.RecordBatch] = deque()
    first = 0

    def parts() -> Iterator[Table]:
        start = 0
        for batch in batches:
            waiting.append(batch)
            yield arrow_part(batch.select(COLUMNS), start)
            start += batch.num_rows

    streams = all(step.prepared.needs == "rows" and not step.prepared.through for step in steps)
    tables = replay(steps, parts())
    if not streams:
        every = list(tables)
        tables = iter([concatenate(every)] if every else [])
    for table in tables:
        held = [waiting.popleft()] if streams else list(waiting)
        raw = pa.Table.from_batches(held).combine_chunks().to_batches()
        if not raw:  # no documents at all
            continue
        kept, gone = _taken_back(raw[0], table, first, history, report)
        first += raw[0].num_rows
        report.rejected += gone.num_rows
        report.note(gone)
        reject(gone)
        for begin in range(0, kept.num_rows, rows):
            yield kept.slice(begin, rows)
    report.rows_in, report.kept = first, first - report.rejected
    report.seconds = sum(step.seconds for step in steps)


def _taken_back(
    raw: pa.RecordBatch, table: Table, first: int, history: Path, report: Report
) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    """(documents after the history, documents it removed) of `raw`, whose first row is number `first`."""
    import pyarrow as pa

    places = [number - first for number in table.origin]
    kept = raw.take(pa.array(places, pa.int64()))
    changed = [False] * len(places)
    for name in TAKEN_BACK:
        if name not in table.columns:
            raise UserError(f"the history {history} ends without the column {name!r}, which documents need")
        before = kept[name].to_pylist()
        after = [None if cell is None else text_of(cell) for cell in table.columns[name]]
        pairs = [((a or ""), (b or "")) for a, b in zip(before, after, strict=True)]
        changed = [mark or a != b for mark, (a, b) in zip(changed, pairs, strict=True)]
        shown = next(((a[:SHOWN], b[:SHOWN]) for a, b in pairs if a != b), None)
        report.change = report.change or shown
        kept = with_column(kept, name, pa.array(after, pa.string()))
    steps = [
        [*(old or []), *([STEP] if mark else [])] for old, mark in zip(kept["steps"].to_pylist(), changed, strict=True)
    ]
    report.changed += sum(changed)
    gone = raw.take(pa.array(sorted(set(range(raw.num_rows)) - set(places)), pa.int64()))
    detail = "removed by the operation history"
    said = (pa.array([value] * gone.num_rows, pa.string()) for value in (STEP, detail))
    return with_column(kept, "steps", pa.array(steps, pa.list_(pa.string()))), rejected_rows(gone, *said)


def history_state(history: Path) -> str:
    """The hash of a history: part of what the documents are computed from."""
    try:
        return hashlib.sha256(history.read_bytes()).hexdigest()[:24]
    except OSError as error:
        raise UserError(f"the operation history {history} cannot be read ({error.strerror})") from None
