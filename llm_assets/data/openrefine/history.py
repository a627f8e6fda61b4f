"""An operation history as OpenRefine exports it: read, checked as a whole before anything runs, and replayed."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_assets.data.openrefine import cell_operations, column_operations, row_operations  # noqa: F401  (they register)
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import OPERATIONS, REFUSED, Run
from llm_assets.data.openrefine.table import Table, concatenate
from llm_assets.data.openrefine.values import NotSupported
from llm_assets.errors import UserError

# Operations after which each row is still one of the rows before, so that a document keeps its identity.
ROW_BY_ROW = {
    *("text-transform", "mass-edit", "fill-down", "blank-down", "column-addition", "column-rename", "column-removal"),
    *("column-multi-removal", "column-move", "column-move-first", "column-move-last", "column-move-left"),
    *("column-move-right", "column-reorder", "column-split", "row-removal", "row-keep-matched", "row-star", "row-flag"),
    *("row-duplicate-removal", "row-reorder"),
}


@dataclass
class Step:
    """One operation, and what it has done so far."""

    number: int
    op: str
    description: str
    run: Run
    streams: bool
    rows_in: int = 0
    rows_out: int = 0
    changed: int = 0
    seconds: float = 0.0

    @property
    def where(self) -> str:
        return f"operation {self.number} ({self.op}: {self.description})"


def read_history(path: Path, allowed: Collection[str] | None = None) -> list[Step]:
    """The steps of a history file. Raises UserError, with the operation's number and description, for what is not
    JSON, not complete or not supported (`allowed`: of the operations, only these are)."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(f"the history {path} cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"the history {path} is not JSON ({error}); export it again (Undo / Redo, Extract)") from None
    return prepare(document, str(path), allowed)


def prepare(document: Any, name: str = "history", allowed: Collection[str] | None = None) -> list[Step]:
    """The steps of a decoded history; every refusal there is, in one error."""
    if not isinstance(document, list):
        raise UserError(f"{name}: a history is a JSON array of operations, this is {type(document).__name__}")
    steps, problems = [], []
    for number, item in enumerate(document, 1):
        try:
            steps.append(_step(number, item, allowed))
        except (UserError, NotSupported) as error:
            problems.append(str(error))
    if problems:
        shown = "\n".join(problems[:20]) + (f"\n... and {len(problems) - 20} more" if len(problems) > 20 else "")
        raise UserError(f"{name} cannot be replayed; nothing was run.\n{shown}")
    return steps


def _step(number: int, item: Any, allowed: Collection[str] | None) -> Step:
    op = str(item.get("op", "")) if isinstance(item, dict) else ""
    description = str(item.get("description", "")) if isinstance(item, dict) else ""
    where = f"operation {number} ({op or 'no op'}: {description[:120]})"
    fields = Fields(item, where)
    name = op.removeprefix("core/")
    refusal = next((reason for key, reason in REFUSED.items() if name == key or name.startswith(f"{key}-")), None)
    if refusal:
        raise UserError(f"{where}: not supported, {refusal}")
    if name not in OPERATIONS:
        raise UserError(f"{where}: the operation {op!r} is not supported; there are {', '.join(sorted(OPERATIONS))}")
    if allowed is not None and name not in allowed:
        raise UserError(f"{where}: on documents the operation must keep each row one row; {op!r} does not")
    prepared = OPERATIONS[name](fields)
    return Step(number, op, description, prepared.run, prepared.streams)


def replay(steps: list[Step], tables: Iterable[Table]) -> Iterator[Table]:
    """The tables (consecutive parts of one table) after all steps, as soon as each part is done.

    Steps that can work on a part get part by part; one that needs the whole table waits for all of it. Afterwards each
    step holds its counts and time.
    """
    for step in steps:
        tables = _through(step, tables)
    yield from tables


def _through(step: Step, tables: Iterable[Table]) -> Iterator[Table]:
    if not step.streams:
        parts = list(tables)
        tables = [concatenate(parts)] if parts else []
    for table in tables:
        # Rows may have gone before: an operation counts the rows that it gets.
        yield _run(step, Table(table.columns, table.starred, table.flagged, table.origin, step.rows_in))


def _run(step: Step, table: Table) -> Table:
    started = time.perf_counter()
    try:
        result, changed = step.run(table)
    except NotSupported as error:
        raise UserError(f"{step.where}: {error} is not supported; nothing was written") from None
    except UserError as error:
        raise UserError(f"{step.where}: {error}; nothing was written") from None
    step.seconds += time.perf_counter() - started
    step.rows_in += table.rows
    step.rows_out += result.rows
    step.changed += changed
    return result
