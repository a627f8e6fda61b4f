"""Raw documents to clean ones: repair, rules, duplicates, masks and splits. What goes is kept too, with its reason.

Two passes over batches, so that the documents themselves are never all in memory. The first runs every step that looks
at one row, on all cores, and keeps of each text what duplicates are found by; what it lets through waits on disk. The
second drops what only the whole can tell. Both write Parquet as they go.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from llm_assets.artifacts import (
    DOCUMENTS,
    REJECTED,
    Progress,
    Summary,
    document_schema,
    no_progress,
    read_table,
    rejected_schema,
)
from llm_assets.data.clean_batch import clean_batch
from llm_assets.data.clean_summary import Totals, clean_summary
from llm_assets.data.config import CleanConfig
from llm_assets.data.corpus_steps import (
    Rejects,
    Relabelled,
    decontamination,
    duplicates,
    label_errors,
    label_spellings,
)
from llm_assets.data.dedup import DuplicateIndex
from llm_assets.data.executor import cores, in_order
from llm_assets.data.openrefine.documents import STEP, history_state, replay_batches
from llm_assets.data.rows import TableWriter
from llm_assets.data.sources.read import PROJECT
from llm_assets.data.steps import Report, Step, in_row_order, run_step
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Judged = TypeVar("Judged")
BATCH_ROWS = 1000
ALONE_ROWS = 8000  # so many rows are clean before a second process has started


def clean_documents(
    raw: Path,
    out: Path,
    config: CleanConfig,
    seed: int = 0,
    progress: Progress = no_progress,
    workers: int | None = None,
    evaluation: pa.Table | None = None,
) -> Summary:
    """Write `documents.parquet` and `rejected.parquet` from the folder of `raw_documents`.

    workers: processes, all cores by default; the files are the same bytes for any number. evaluation: documents whose
    texts the train split must not hold, for `data.clean.decontaminate`.
    """
    import pyarrow.parquet as pq

    started = time.perf_counter()
    with pq.ParquetFile(raw / DOCUMENTS) as source:
        total = source.metadata.num_rows
        if workers is None:
            workers = 1 if total <= ALONE_ROWS else cores()
        batches = source.iter_batches(batch_size=BATCH_ROWS)
        totals = clean_batches(batches, total, out, config, seed, progress, workers, evaluation)
    if not totals.rows:
        reasons = ", ".join(f"{name} {count}" for name, count in totals.reasons().most_common())
        raise UserError(f"cleaning rejected all {total} documents ({reasons}); relax data.clean")
    return clean_summary(totals, time.perf_counter() - started)


def clean_table(
    raw: pa.Table, config: CleanConfig, seed: int = 0, progress: Progress = no_progress
) -> tuple[pa.Table, pa.Table]:
    """(documents, rejected): together exactly the rows of `raw`, of which each is in one."""
    with tempfile.TemporaryDirectory(prefix="llm-assets-clean-") as folder:
        out = Path(folder)
        clean_batches(raw.to_batches(max_chunksize=BATCH_ROWS), raw.num_rows, out, config, seed, progress)
        return read_table(out / DOCUMENTS).combine_chunks(), read_table(out / REJECTED).combine_chunks()


def clean_batches(
    batches: Iterable[pa.RecordBatch],
    total: int,
    out: Path,
    config: CleanConfig,
    seed: int = 0,
    progress: Progress = no_progress,
    workers: int = 1,
    evaluation: pa.Table | None = None,
) -> Totals:
    """Write both files into `out` from batches of raw documents, `total` rows in all."""
    with (
        tempfile.TemporaryDirectory(prefix=".waiting-", dir=out) as folder,
        TableWriter(out / REJECTED, rejected_schema()) as rejected,
        TableWriter(out / DOCUMENTS, document_schema()) as documents,
    ):
        waiting = _replayed_first_pass(batches, total, Path(folder), config, seed, rejected, progress, workers)
        totals = _second_pass(waiting, config, seed, documents, rejected, evaluation, progress)
    lost = waiting.rows_in - totals.rows - sum(report.rejected for report in totals.reports.values())
    if lost or waiting.rows_in != total:
        raise RuntimeError(f"cleaning lost rows: {total} in, {totals.rows} kept, {lost} nowhere")
    progress(100, 100, f"{totals.rows:,} kept, {total - totals.rows:,} rejected")
    return totals


@dataclass
class _Waiting:
    """Between the passes: the documents on disk, and of each what the steps over all of them need."""

    path: Path
    index: DuplicateIndex
    rows_in: int = 0
    reports: dict[str, Report] = field(default_factory=dict)
    columns: list[pa.RecordBatch] = field(default_factory=list)

    def narrow(self) -> pa.Table:
        """id, label, split and source of each document."""
        import pyarrow as pa

        schema = pa.schema([document_schema().field(name) for name in NARROW])
        return pa.Table.from_batches(self.columns, schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


NARROW = ("id", "label", "split", "source")


def _replayed_first_pass(
    batches: Iterable[pa.RecordBatch],
    total: int,
    folder: Path,
    config: CleanConfig,
    seed: int,
    rejected: TableWriter,
    progress: Progress,
    workers: int,
) -> _Waiting:
    """The first pass, behind the OpenRefine history where there is one."""
    if not config.openrefine:
        return _first_pass(batches, total, folder, config, seed, rejected, progress, workers)
    report = Report()
    # What it removes is written after the rest: when a batch is asked for depends on the number of processes.
    with TableWriter(folder / REJECTED, rejected_schema()) as removed:
        replayed = replay_batches(batches, PROJECT / config.openrefine, report, removed.write, BATCH_ROWS)
        waiting = _first_pass(replayed, total, folder, config, seed, rejected, progress, workers)
    for batch in read_table(folder / REJECTED).to_batches():
        rejected.write(batch)
    waiting.reports = {STEP: report, **waiting.reports}
    waiting.rows_in += report.rejected
    return waiting


def clean_state(config: CleanConfig) -> str:
    """What changes when a file that cleaning reads does."""
    return history_state(PROJECT / config.openrefine) if config.openrefine else ""


def _first_pass(
    batches: Iterable[pa.RecordBatch],
    total: int,
    folder: Path,
    config: CleanConfig,
    seed: int,
    rejected: TableWriter,
    progress: Progress,
    workers: int,
) -> _Waiting:
    import pyarrow as pa

    waiting = _Waiting(folder / "kept.arrow", DuplicateIndex(folder, config.near_duplicates))
    schema = document_schema().append(pa.field("raw", pa.string()))
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.OSFile(str(waiting.path), "wb") as file, pa.ipc.new_file(file, schema, options=options) as kept:
        work = partial(clean_batch, config.model_dump_json(), seed)
        for done in in_order(work, batches, workers):
            kept.write_batch(done.kept)
            rejected.write(done.rejected)
            waiting.index.add(done.signatures, done.rank)
            waiting.columns.append(done.kept.select(NARROW))
            waiting.rows_in += done.kept.num_rows + done.rejected.num_rows
            for name, report in done.reports.items():
                waiting.reports.setdefault(name, Report()).add(report)
            progress(70 * waiting.rows_in / max(total, 1), 100, f"{waiting.rows_in:,} of {total:,} documents")
    return waiting


def _second_pass(
    waiting: _Waiting,
    config: CleanConfig,
    seed: int,
    documents: TableWriter,
    rejected: TableWriter,
    evaluation: pa.Table | None,
    progress: Progress,
) -> Totals:
    """Judge over all documents, then run what was found over them, batch by batch."""
    totals, narrow, relabelled = Totals(waiting.rows_in, waiting.reports), waiting.narrow(), Relabelled()
    spelled = Relabelled()
    if config.labels.merge != "none":
        narrow, totals.label_merges = _timed(totals, "labels", lambda: label_spellings(narrow, spelled, config.labels))
        report_labels = totals.reports["labels"]
        report_labels.rows_in = report_labels.kept = narrow.num_rows
        report_labels.changed = len(spelled.labels)

    def report(done: float, total: float, note: str = "") -> None:
        progress(70 + 20 * done / total, 100, note)

    judged: list[Rejects] = [
        _timed(totals, "duplicates", lambda: duplicates(narrow, waiting.index, relabelled, report))
    ]
    repeated = judged[0].rows
    if config.label_errors.enabled:
        progress(90, 100, "label errors")
        drop, count = _timed(
            totals,
            "label_errors",
            lambda: label_errors(narrow, waiting.batches, repeated, config.label_errors, relabelled, seed),
        )
        judged.append(drop)
        totals.label_errors = count
    steps: list[Step] = []
    if config.decontaminate.enabled:
        progress(92, 100, "contamination")
        steps.append(
            _timed(
                totals,
                "decontaminate",
                lambda: decontamination(waiting.batches, repeated, config.decontaminate, evaluation),
            )
        )
    first = 0
    for batch in waiting.batches():
        numbers = np.arange(first, first + batch.num_rows)
        first += batch.num_rows
        for labels in (spelled, relabelled):
            batch = labels.apply(batch, int(numbers[0]) if len(numbers) else 0)
        kept, gone = batch, []
        for found in judged:
            kept, rejects = _run(found.step(numbers), kept, totals)
            gone.append(rejects)
            numbers = numbers[~found.among(numbers)]
        for step in steps:
            kept, rejects = _run(step, kept, totals)
            gone.append(rejects)
        rejected.write(in_row_order(gone, batch))
        kept = kept.select(document_schema().names)
        documents.write(kept)
        totals.see(kept)
        progress(95 + 5 * first / max(narrow.num_rows, 1), 100, "writing")
    return totals


def _run(step: Step, batch: pa.RecordBatch, totals: Totals) -> tuple[pa.RecordBatch, pa.RecordBatch]:
    kept, gone, report = run_step(step, batch)
    totals.reports.setdefault(step.name, Report()).add(report)
    return kept, gone


def _timed(totals: Totals, name: str, judge: Callable[[], Judged]) -> Judged:
    """What `judge` returns; its seconds are counted for the step of that name."""
    started = time.perf_counter()
    found = judge()
    totals.reports[name] = Report(seconds=time.perf_counter() - started)
    return found
