"""The steps over a table of one's own, in order: history, standard forms, repairs, duplicates.

The rows wait on disk: each step reads them, batch by batch and as often as it needs, and writes those that stay.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.executor import cores, processes
from llm_assets.data.linkage import link_records
from llm_assets.data.repair import repair
from llm_assets.data.standardise import standardise
from llm_assets.data.stored import Ahead, Stored, Storing, by_number, store_table
from llm_assets.data.table_config import TableConfig

if TYPE_CHECKING:
    import pyarrow as pa


SHOWN = 12
ALONE_ROWS = 50_000  # rows that are there before other processes are


@dataclass(frozen=True)
class StepReport:
    """One step: rows in and out, cells changed, seconds, what to know, and samples."""

    step: str
    rows_in: int
    rows_out: int
    changed: int
    seconds: float
    note: str = ""
    samples: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Tidied:
    """kept: the rows that stay, numbered as read; gone: `reason` and `detail` of each other, by ascending number."""

    kept: Stored
    gone: Stored
    reports: list[StepReport]


def tidy_table(
    table: pa.Table, config: TableConfig, root: Path, workers: int | None = None
) -> tuple[pa.Table, pa.Table, list[StepReport]]:
    """(kept, rejected, reports). `rejected` has the rows as they were read, with `reason` and `detail`; both together
    are exactly the rows of `table`. root: where a relative path of a history starts; workers: as `tidy_rows`."""
    import pyarrow as pa

    with tempfile.TemporaryDirectory(prefix="llm-assets-tidy-") as name:
        folder = Path(name)
        read = store_table(table, folder / "read.arrow")
        tidied = tidy_rows(read, config, root, folder, workers)
        rejected = pa.Table.from_batches(list(rejected_batches(read, tidied.gone)), with_reasons(read.schema))
        return tidied.kept.table(), rejected, tidied.reports


def tidy_rows(
    read: Stored,
    config: TableConfig,
    root: Path,
    folder: Path,
    workers: int | None = None,
    refused: Stored | None = None,
) -> Tidied:
    """The steps over rows numbered from 0 on, which stay where they are. The rows that each step leaves are put into
    `folder`, one step's at a time. Raises RuntimeError where a row would be lost.

    refused: `reason` and `detail` of rows that no step is to see, by ascending number;
    workers: processes, by default all cores where there are many rows; the rows are the same for any number."""

    table, reports = read, list[StepReport]()
    if workers is None:
        workers = cores() if read.rows > ALONE_ROWS else 1

    def took(after: Stored) -> None:
        nonlocal table
        if table.path not in (read.path, after.path):
            table.remove()
        table = after

    def note(step: str, before: int, changed: int, started: float, text: str, samples: list[dict[str, str]]) -> None:
        seconds = time.perf_counter() - started
        reports.append(StepReport(step, before, table.rows, changed, seconds, text, samples[:SHOWN]))

    with Storing(folder / "gone.arrow", reasons()) as gone, processes(workers) as each:
        if refused is not None and refused.rows:
            table = _without(read, refused, folder / "whole.arrow", gone)
        if config.openrefine:
            from llm_assets.data.openrefine.stored_rows import replay_stored

            started, before = time.perf_counter(), table.rows
            replayed, changed = replay_stored(table, read.rows, root / config.openrefine, folder, gone, each)
            took(replayed)
            note("openrefine", before, changed, started, "", [])
        if config.standardise:
            started, before = time.perf_counter(), table.rows
            standard, columns = standardise(table, config.standardise, folder / "standardise.arrow", gone, each)
            took(standard)
            text = "; ".join(f"{column.column}: {column.decided}" for column in columns if column.decided)
            samples = [sample for column in columns for sample in column.samples]
            note("standardise", before, sum(one.changed + one.filled for one in columns), started, text, samples)
        if config.repair:
            started = time.perf_counter()
            repaired, report = repair(table, config.repair, folder / "repair.arrow", each, SHOWN)
            took(repaired)
            counts = ", ".join(f"{name} {count}" for name, count in report.counts.items())
            note("repair", table.rows, sum(report.counts.values()), started, counts, report.samples)
        if config.deduplicate:
            started, before = time.perf_counter(), table.rows
            linked = link_records(table, config.deduplicate, each)
            took(_deduplicated(table, linked.dropped, linked.stays, folder / "deduplicate.arrow", gone))
            text = f"{linked.compared:,} pairs compared, {linked.groups:,} groups"
            note("deduplicate", before, len(linked.dropped), started, text, [])
    lost = gone.stored()
    if table.rows + lost.rows != read.rows:
        raise RuntimeError(f"rows were lost: {read.rows} in, {table.rows} kept, {lost.rows} rejected")
    return Tidied(table, by_number(lost, folder, read.rows), reports)


def reasons() -> pa.Schema:
    """Why a row went."""
    import pyarrow as pa

    return pa.schema([("reason", pa.string()), ("detail", pa.string())])


def rejected_batches(read: Stored, gone: Stored) -> Iterator[pa.RecordBatch]:
    """The rows that went as they were read, in that order, with `reason` and `detail`."""
    import pyarrow as pa

    schema, ahead = with_reasons(read.schema), Ahead(gone)
    for numbers, batch in read.batches():
        wanted, said = ahead.until(int(numbers[-1]) + 1)
        rows = batch.take(pa.array(wanted - numbers[0]))
        reasons = [said[name].combine_chunks() for name in ("reason", "detail")]
        yield pa.record_batch([*rows.columns, *reasons], schema=schema)


def with_reasons(schema: pa.Schema) -> pa.Schema:
    """The columns of rejected rows."""
    import pyarrow as pa

    return schema.append(pa.field("reason", pa.string())).append(pa.field("detail", pa.string()))


def _without(read: Stored, refused: Stored, out: Path, gone: Storing) -> Stored:
    """The rows that are not refused."""
    import pyarrow as pa

    ahead = Ahead(refused)
    with Storing(out, read.schema) as kept:
        for numbers, batch in read.batches():
            some, said = ahead.until(int(numbers[-1]) + 1)
            stays = ~np.isin(numbers, some)
            kept.add(numbers[stays], batch.filter(pa.array(stays)))
            gone.add(some, pa.record_batch([said[name].combine_chunks() for name in said.column_names], gone.schema))
    return kept.stored()


def _deduplicated(table: Stored, dropped: np.ndarray, stays: np.ndarray, out: Path, gone: Storing) -> Stored:
    """The rows without those that are `dropped` (ascending), each for the row that `stays`."""
    import pyarrow as pa

    named, place = np.unique(stays, return_inverse=True)
    numbers_of, first = table.numbers_at(named), 0
    with Storing(out, table.schema) as kept:
        for numbers, batch in table.batches():
            low, high = np.searchsorted(dropped, [first, first + batch.num_rows])
            rows = dropped[low:high] - first
            mask = np.ones(batch.num_rows, dtype=bool)
            mask[rows] = False
            kept.add(numbers[mask], batch.filter(pa.array(mask)))
            detail = [f"same as row {number + 1}" for number in numbers_of[place[low:high]].tolist()]
            said = [pa.array(["duplicate"] * len(detail), pa.string()), pa.array(detail, pa.string())]
            gone.add(numbers[rows], pa.record_batch(said, names=["reason", "detail"]))
            first += batch.num_rows
    return kept.stored()
