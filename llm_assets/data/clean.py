"""Raw documents to clean ones: repair, rules, duplicates, masks and splits. What goes is kept too, with its reason.

Two passes over batches, so that the documents themselves are never all in memory. The first runs every step that looks
at one row, on all cores, and keeps of each text what duplicates are found by; what it lets through waits on disk. The
second drops what only the whole can tell. Both write Parquet as they go.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import (
    DOCUMENTS,
    REJECTED,
    Progress,
    Summary,
    document_schema,
    no_progress,
    open_table,
    read_table,
    rejected_schema,
)
from llm_assets.data.clean_passes import BATCH_ROWS, first_pass, second_pass
from llm_assets.data.clean_summary import Totals, clean_summary
from llm_assets.data.config import CleanConfig
from llm_assets.data.executor import cores
from llm_assets.data.openrefine.documents import history_state
from llm_assets.data.rows import TableWriter
from llm_assets.data.sources.read import PROJECT
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

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
    started = time.perf_counter()
    with open_table(raw / DOCUMENTS) as source:
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
        waiting = first_pass(batches, total, Path(folder), config, seed, rejected, progress, workers)
        totals = second_pass(waiting, config, seed, documents, rejected, evaluation, progress)
    lost = waiting.rows_in - totals.rows - sum(report.rejected for report in totals.reports.values())
    if lost or waiting.rows_in != total:
        raise RuntimeError(f"cleaning lost rows: {total} in, {totals.rows} kept, {lost} nowhere")
    progress(100, 100, f"{totals.rows:,} kept, {total - totals.rows:,} rejected")
    return totals


def clean_state(config: CleanConfig) -> str:
    """What changes when a file that cleaning reads does."""
    return history_state(PROJECT / config.openrefine) if config.openrefine else ""
