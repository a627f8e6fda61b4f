"""The steps over a table of one's own, in order: history, standard forms, repairs, duplicates."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.data.linkage import deduplicate_records
from llm_assets.data.repair import repair_table
from llm_assets.data.standardise import standardise
from llm_assets.data.table_config import TableConfig

if TYPE_CHECKING:
    import pyarrow as pa


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
    """table: the rows that stay; numbers: their numbers as read; gone: number of each other -> (reason, detail)."""

    table: pa.Table
    numbers: list[int]
    gone: dict[int, tuple[str, str]]
    reports: list[StepReport]


def tidy_table(table: pa.Table, config: TableConfig, root: Path) -> tuple[pa.Table, pa.Table, list[StepReport]]:
    """(kept, rejected, reports). `rejected` has the rows as they were read, with `reason` and `detail`; both together
    are exactly the rows of `table`. root: where a relative path of a history starts."""
    import pyarrow as pa

    tidied = tidy_rows(table, config, root)
    order = sorted(tidied.gone)
    rejected = table.take(pa.array(order, pa.int64()))
    rejected = rejected.append_column("reason", pa.array([tidied.gone[row][0] for row in order], pa.string()))
    rejected = rejected.append_column("detail", pa.array([tidied.gone[row][1] for row in order], pa.string()))
    return tidied.table, rejected, tidied.reports


def tidy_rows(table: pa.Table, config: TableConfig, root: Path) -> Tidied:
    """`tidy_table`, with the number of each row. Raises RuntimeError where a row would be lost."""
    rows = table.num_rows
    numbers = list(range(rows))  # of the rows that are left, as read
    gone: dict[int, tuple[str, str]] = {}
    reports: list[StepReport] = []

    def note(step: str, before: int, changed: int, started: float, text: str, samples: list[dict[str, str]]) -> None:
        seconds = time.perf_counter() - started
        reports.append(StepReport(step, before, table.num_rows, changed, seconds, text, samples[:12]))

    if config.openrefine:
        started, before = time.perf_counter(), table.num_rows
        table, numbers, changed = _replayed(table, root / config.openrefine)
        gone |= dict.fromkeys(set(range(before)) - set(numbers), ("openrefine", "removed by the operation history"))
        note("openrefine", before, changed, started, "", [])
    if config.standardise:
        started, before = time.perf_counter(), table.num_rows
        table, rejections, columns = standardise(table, config.standardise)
        gone |= {numbers[item.row]: (item.reason, item.detail) for item in rejections}
        left_out = {item.row for item in rejections}
        numbers = [number for row, number in enumerate(numbers) if row not in left_out]
        text = "; ".join(f"{column.column}: {column.decided}" for column in columns if column.decided)
        samples = [sample for column in columns for sample in column.samples]
        note("standardise", before, sum(column.changed + column.filled for column in columns), started, text, samples)
    if config.repair:
        started = time.perf_counter()
        table, repaired = repair_table(table, config.repair)
        counts = ", ".join(f"{name} {count}" for name, count in repaired.counts().items())
        note("repair", table.num_rows, len(repaired.repairs), started, counts, repaired.samples())
    if config.deduplicate:
        started, before = time.perf_counter(), table.num_rows
        table, linked = deduplicate_records(table, config.deduplicate)
        gone |= {
            numbers[row]: ("duplicate", f"same as row {numbers[stays] + 1}") for row, stays in linked.dropped.items()
        }
        numbers = [number for row, number in enumerate(numbers) if row not in linked.dropped]
        text = f"{linked.compared:,} pairs compared, {len(linked.groups):,} groups"
        note("deduplicate", before, len(linked.dropped), started, text, [])
    if len(numbers) != table.num_rows or table.num_rows + len(gone) != rows:
        raise RuntimeError(f"rows were lost: {rows} in, {table.num_rows} kept, {len(gone)} rejected")
    return Tidied(table, numbers, gone, reports)


def tidy_file(path: Path, out: Path, rejected: Path | None, config: TableConfig) -> list[StepReport]:
    """`tidy_table` from file to file, in memory. Raises UserError where no step is given."""
    from llm_assets.data.openrefine.files import arrow_table, format_of, read_tables, write_arrow
    from llm_assets.errors import UserError

    if config == TableConfig():
        raise UserError("data.table names no step; give openrefine, standardise, repair or deduplicate")
    for target in (out, rejected):
        if target is not None:
            format_of(target)
    kept, gone, reports = tidy_table(arrow_table(read_tables(path)), config, Path.cwd())
    write_arrow(kept, out)
    if rejected is not None:
        write_arrow(gone, rejected)
    return reports


def print_steps(reports: list[StepReport]) -> None:
    """A line a step, its note, and some of what it changed."""
    from rich.table import Table
    from rich.text import Text

    from llm_assets.terminal import console

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("step", "rows in", "rows out", "changed", "seconds"):
        shown.add_column(title, justify="left" if title == "step" else "right")
    for report in reports:
        counts = (f"{count:,}" for count in (report.rows_in, report.rows_out, report.changed))
        shown.add_row(report.step, *counts, f"{report.seconds:.2f}")
    console.print(shown)
    for report in reports:
        if report.note:
            console.print(Text(f"{report.step}: {report.note}"), soft_wrap=True)
        for sample in report.samples[:5]:
            console.print(Text(f"  {sample['what']}: {sample['before']} -> {sample['after']}"), soft_wrap=True)


def _replayed(table: pa.Table, history: Path) -> tuple[pa.Table, list[int], int]:
    from llm_assets.data.openrefine.files import arrow_part, arrow_table
    from llm_assets.data.openrefine.history import ROW_BY_ROW, read_history, replay

    steps = read_history(history, ROW_BY_ROW)
    batches: list[Any] = table.combine_chunks().to_batches()
    if not batches:
        return table, [], 0
    parts = list(replay(steps, [arrow_part(batches[0])]))
    numbers = [number for part in parts for number in part.origin]
    return arrow_table(parts), numbers, sum(step.changed for step in steps)
