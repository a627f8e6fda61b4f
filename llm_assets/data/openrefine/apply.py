"""`llm-assets openrefine-apply`: a history over a table in a file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from llm_assets.data.openrefine.files import format_of, make_folder, read_tables, write_tables
from llm_assets.data.openrefine.history import Step, read_history, replay


@dataclass(frozen=True)
class Replayed:
    """out: the file written; steps: each operation with its counts and time; rows of `out`; seconds in all."""

    out: Path
    steps: list[Step]
    rows: int
    seconds: float


def apply_history(history: Path, table: Path, out: Path | None = None) -> Replayed:
    """Replay `history` over `table` and write `out` (by default beside the table, as `NAME-refined`).

    The history is checked as a whole first. Raises UserError, and writes nothing, for what cannot be replayed.
    """
    steps = read_history(history)
    format_of(table)
    target = out or table.with_name(f"{table.stem}-refined{table.suffix}")
    started = time.perf_counter()
    make_folder(target)
    rows = write_tables(replay(steps, read_tables(table), target.parent), target)
    return Replayed(target, steps, rows, time.perf_counter() - started)


def print_replay(replayed: Replayed) -> None:
    """A line an operation: rows before and after, cells or rows it changed, time."""
    from rich.table import Table
    from rich.text import Text

    from llm_assets.terminal import console

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "operation", "rows in", "rows out", "changed", "seconds"):
        shown.add_column(title, justify="left" if title == "operation" else "right")
    for step in replayed.steps:
        counts = (f"{count:,}" for count in (step.rows_in, step.rows_out, step.changed))
        shown.add_row(str(step.number), Text(step.description or step.op), *counts, f"{step.seconds:.2f}")
    console.print(shown)
    console.print(f"{replayed.rows:,} rows in {replayed.seconds:.2f} s: {replayed.out}", markup=False, soft_wrap=True)
