"""What a cleaning step is, and how steps are applied to a batch of documents.

A step's function looks at a batch as columns and answers with an `Outcome`: another text column, or a reason for each
row that has to go, or both. What follows from that (the rows that stay, the rows that went with step and reason,
counts, seconds, samples) is done here, once for all steps. A step knows nothing of files, processes or other batches.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import document_schema, rejected_schema

if TYPE_CHECKING:
    import pyarrow as pa

RAW = "raw"  # column beside those of a document: its text as it came where it is another now, for what is rejected
SHOWN = 240  # characters of a sample


@dataclass(frozen=True)
class Outcome:
    """text: the new text column, None where nothing changes. reason: string column, null where a row stays."""

    text: pa.Array | None = None
    reason: pa.Array | None = None
    detail: pa.Array | None = None


@dataclass(frozen=True)
class Step:
    """`run` maps a batch of documents to an `Outcome` of as many rows; it must not depend on how rows are batched."""

    name: str
    run: Callable[[pa.RecordBatch], Outcome]


@dataclass
class Report:
    """What a step did: counts, seconds of its own work (all processes together) and the first row of each kind."""

    rows_in: int = 0
    kept: int = 0
    rejected: int = 0
    changed: int = 0
    seconds: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter)
    change: tuple[str, str] | None = None
    rejects: dict[str, tuple[str, str]] = field(default_factory=dict)

    def note(self, rejected: pa.RecordBatch) -> None:
        """Count the reasons of rejected rows, and remember the first of each."""
        reasons = rejected["reason"].to_pylist()
        self.reasons.update(reasons)
        for row, reason in enumerate(reasons):
            if reason not in self.rejects:
                text, detail = rejected["text"][row].as_py(), rejected["detail"][row].as_py()
                self.rejects[reason] = ((text or "")[:SHOWN], detail or "")

    def add(self, other: Report) -> None:
        """The rows of `other` come after those of this one."""
        self.rows_in += other.rows_in
        self.kept += other.kept
        self.rejected += other.rejected
        self.changed += other.changed
        self.seconds += other.seconds
        self.reasons += other.reasons
        self.change = self.change or other.change
        self.rejects = other.rejects | self.rejects


def run_step(step: Step, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, pa.RecordBatch, Report]:
    """(rows that stay, rows that go with reason and detail, what happened); together exactly the rows of `batch`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    started = time.perf_counter()
    outcome = step.run(batch)
    report = Report(rows_in=batch.num_rows)
    if outcome.text is not None:
        before = batch["text"]
        changed = pc.fill_null(pc.not_equal(outcome.text, before), False).to_numpy(zero_copy_only=False)
        report.changed = int(changed.sum())
        if report.changed:
            first = int(changed.argmax())
            report.change = _around(before[first].as_py(), outcome.text[first].as_py())
            batch = with_column(batch, "text", outcome.text)
            batch = with_column(batch, "steps", appended(batch["steps"], changed, step.name))
    if outcome.reason is None or outcome.reason.null_count == batch.num_rows:
        kept, rejected = batch, rejected_rows(batch.slice(0, 0), pa.nulls(0, pa.string()), pa.nulls(0, pa.string()))
    else:
        stays = pc.is_null(outcome.reason)
        goes = pc.invert(stays)
        detail = pa.nulls(batch.num_rows, pa.string()) if outcome.detail is None else outcome.detail
        kept = batch.filter(stays)
        rejected = rejected_rows(batch.filter(goes), outcome.reason.filter(goes), detail.filter(goes))
        report.note(rejected)
    report.kept, report.rejected = kept.num_rows, rejected.num_rows
    report.seconds = time.perf_counter() - started
    return kept, rejected, report


def rejected_rows(batch: pa.RecordBatch, reason: pa.Array, detail: pa.Array) -> pa.RecordBatch:
    """`batch` in the schema of rejected documents; the text is the one that was acquired, where that is known."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.coalesce(batch[RAW], batch["text"]) if RAW in batch.schema.names else batch["text"]
    columns = {name: batch[name] for name in document_schema().names} | {"text": text}
    return pa.record_batch([*columns.values(), reason, detail], schema=rejected_schema())


def in_row_order(rejected: Sequence[pa.RecordBatch], batch: pa.RecordBatch) -> pa.RecordBatch:
    """What several steps rejected of `batch`, as one batch in the order of its rows: however rows are batched, the
    order of all rejects is the same.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    table = pa.Table.from_batches(rejected, rejected_schema()).combine_chunks()
    order = pc.sort_indices(pc.index_in(table["id"], batch["id"]))
    return pa.record_batch([column.take(order) for column in _columns(table)], schema=rejected_schema())


def _columns(table: pa.Table) -> list[pa.Array]:
    import pyarrow as pa

    return [column.chunk(0) if column.num_chunks else pa.nulls(0, column.type) for column in table.itercolumns()]


def apply_steps(steps: Sequence[Step], table: pa.Table) -> tuple[pa.Table, pa.Table, dict[str, Report]]:
    """Table in; rows that stay, rows that went and a report by step out: steps in a notebook, one after the other."""
    import pyarrow as pa

    reports = {step.name: Report() for step in steps}
    kept, rejected = [], []
    for batch in table.to_batches(max_chunksize=1000):
        for step in steps:
            batch, gone, report = run_step(step, batch)
            rejected.append(gone)
            reports[step.name].add(report)
        kept.append(batch)
    return pa.Table.from_batches(kept, table.schema), pa.Table.from_batches(rejected, rejected_schema()), reports


def with_column(batch: pa.RecordBatch, name: str, values: pa.Array) -> pa.RecordBatch:
    """`batch` with other values in a column it has."""
    return batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), values)


def map_where(texts: pa.Array, where: pa.Array | np.ndarray, change: Callable[[str], str]) -> pa.Array:
    """`texts` with `change` applied to the rows of the mask `where`: for rules no column function can express."""
    import pyarrow as pa
    import pyarrow.compute as pc

    mask = pa.array(where) if isinstance(where, np.ndarray) else pc.fill_null(where, False)
    chosen = texts.filter(mask)
    if not len(chosen):
        return texts
    return pc.replace_with_mask(texts, mask, pa.array([change(text) for text in chosen.to_pylist()], pa.string()))


def appended(steps: pa.Array, changed: np.ndarray, name: str) -> pa.Array:
    """The list column `steps` with `name` behind the others in the rows that changed."""
    import pyarrow as pa
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(steps), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths + changed)])
    flat = pc.list_flatten(steps)
    places = np.full(offsets[-1], len(flat))
    old = np.ones(offsets[-1], dtype=bool)
    old[offsets[1:][changed] - 1] = False
    places[old] = np.arange(len(flat))
    values = pa.concat_arrays([flat, pa.array([name], pa.string())]).take(pa.array(places))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)


def _around(before: str, after: str) -> tuple[str, str]:
    """Both texts, cut to what surrounds their first difference."""
    place = next(
        (n for n, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after))
    )
    start = max(0, place - SHOWN // 3)
    return before[start : start + SHOWN], after[start : start + SHOWN]
