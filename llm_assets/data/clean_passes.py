"""The two passes of cleaning: what looks at one row, on all cores; then what only the whole can tell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from llm_assets.artifacts import REJECTED, Progress, document_schema, rejected_schema
from llm_assets.data.clean_batch import Cleaned, clean_batch
from llm_assets.data.clean_summary import Totals
from llm_assets.data.config import CleanConfig
from llm_assets.data.corpus_steps import (
    Rejects,
    Relabelled,
    Respelled,
    decontamination,
    duplicates,
    label_errors,
    label_samples,
    label_spellings,
)
from llm_assets.data.executor import in_order
from llm_assets.data.openrefine.documents import STEP, ReplayAlone, replay_alone, replay_batches
from llm_assets.data.reread import batches_of
from llm_assets.data.rows import TableWriter
from llm_assets.data.sources.read import PROJECT
from llm_assets.data.steps import Report, Step, in_row_order, run_step
from llm_assets.data.waiting import Waiting

if TYPE_CHECKING:
    import pyarrow as pa

Judged = TypeVar("Judged")
BATCH_ROWS = 1000


def first_pass(
    batches: Iterable[pa.RecordBatch],
    total: int,
    folder: Path,
    config: CleanConfig,
    seed: int,
    rejected: TableWriter,
    progress: Progress,
    workers: int,
) -> Waiting:
    """The first pass, behind the OpenRefine history where there is one."""
    clean = partial(clean_batch, config.model_dump_json(), seed)
    if not config.openrefine:
        return _rows_pass(in_order(clean, batches, workers), total, folder, config, rejected, progress)
    report, history = Report(), PROJECT / config.openrefine
    # What it removes is written after the rest: when a batch is asked for depends on the number of processes.
    with TableWriter(folder / REJECTED, rejected_schema()) as removed:
        if replayed := replay_alone(history):
            work = partial(_replay_and_clean, replayed, clean)
            cleaned = _without_removed(in_order(work, _placed(batches), workers), report, removed)
        else:
            documents = replay_batches(batches, history, report, removed.write, BATCH_ROWS)
            cleaned = in_order(clean, documents, workers)
        waiting = _rows_pass(cleaned, total, folder, config, rejected, progress)
    for batch in batches_of(folder / REJECTED):
        rejected.write(batch)
    waiting.reports = {STEP: report, **waiting.reports}
    waiting.rows_in += report.rejected
    return waiting


def _placed(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, pa.RecordBatch]]:
    start = 0
    for batch in batches:
        yield start, batch
        start += batch.num_rows


# What a batch comes to, what the history removed from it, and what that did.
Replayed = tuple[Cleaned | None, "pa.RecordBatch", Report]


def _replay_and_clean(
    replayed: ReplayAlone, clean: Callable[[pa.RecordBatch], Cleaned], placed: tuple[int, pa.RecordBatch]
) -> Replayed:
    kept, gone, report = replayed(*placed)
    return clean(kept) if kept.num_rows else None, gone, report


def _without_removed(done: Iterable[Replayed], report: Report, removed: TableWriter) -> Iterator[Cleaned]:
    for cleaned, gone, found in done:
        report.add(found)
        if gone.num_rows:
            removed.write(gone)
        if cleaned is not None:
            yield cleaned


def _rows_pass(
    cleaned: Iterable[Cleaned],
    total: int,
    folder: Path,
    config: CleanConfig,
    rejected: TableWriter,
    progress: Progress,
) -> Waiting:
    with Waiting(folder, config.near_duplicates) as waiting:
        for done in cleaned:
            waiting.add(done)
            rejected.write(done.rejected)
            progress(70 * waiting.rows_in / max(total, 1), 100, f"{waiting.rows_in:,} of {total:,} documents")
    return waiting


def second_pass(
    waiting: Waiting,
    config: CleanConfig,
    seed: int,
    documents: TableWriter,
    rejected: TableWriter,
    evaluation: pa.Table | None,
    progress: Progress,
) -> Totals:
    """Judge over all documents, then run what was found over them, batch by batch."""
    totals, narrow, relabelled = Totals(waiting.rows_in, waiting.reports), waiting.narrow(), Relabelled()
    spelled = Respelled({}, 0)
    if config.labels.merge != "none":
        narrow, spelled, totals.label_merges = _timed(totals, "labels", lambda: label_spellings(narrow, config.labels))
        report_labels = totals.reports["labels"]
        report_labels.rows_in = report_labels.kept = narrow.num_rows
        report_labels.changed = spelled.rows

    def report(done: float, total: float, note: str = "") -> None:
        progress(70 + 20 * done / total, 100, note)

    judged: list[Rejects] = [_timed(totals, "duplicates", lambda: duplicates(narrow, waiting, relabelled, report))]
    repeated = judged[0].rows
    if config.label_errors.enabled:
        progress(90, 100, "label errors")
        texts = partial(waiting.batches, ["text"])
        drop, errors = _timed(
            totals,
            "label_errors",
            lambda: label_errors(narrow, texts, repeated, config.label_errors, relabelled, seed),
        )
        judged.append(drop)
        totals.label_errors = len(errors.rows)
        if config.label_errors.action == "fix":
            totals.reports["label_errors"].changed = len(errors.rows)
        totals.label_samples = label_samples(narrow, texts, errors, config.label_errors.action)
    if config.decontaminate.enabled:
        progress(92, 100, "contamination")
        judged.append(
            _timed(
                totals, "decontaminate", lambda: decontamination(waiting, repeated, config.decontaminate, evaluation)
            )
        )
    first = 0
    for batch in waiting.batches():
        numbers = np.arange(first, first + batch.num_rows)
        first += batch.num_rows
        batch = relabelled.apply(spelled.apply(batch), int(numbers[0]) if len(numbers) else 0)
        kept, gone = batch, []
        for found in judged:
            kept, rejects = _run(found.step(numbers), kept, totals)
            gone.append(rejects)
            numbers = numbers[~found.among(numbers)]
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
