"""An operation history as OpenRefine exports it: read, checked as a whole before anything runs, and replayed."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llm_assets.data.openrefine import (  # noqa: F401  (they register)
    cell_operations,
    column_operations,
    key_values,
    multivalued,
    reorder,
    row_operations,
    transpose,
)
from llm_assets.data.openrefine.fields import Fields
from llm_assets.data.openrefine.operation import OPERATIONS, REFUSED, Prepared
from llm_assets.data.openrefine.spilled import dumps, loads
from llm_assets.data.openrefine.table import Table, records, whole_records
from llm_assets.data.openrefine.values import NotSupported
from llm_assets.errors import UserError

BESIDE = ("starred", "flagged", "origin", "start", "first_record")  # of a table, beside its columns
# Operations after which each row is still one of the rows before, so that a document keeps its identity.
ROW_BY_ROW = {
    *("text-transform", "mass-edit", "fill-down", "blank-down", "column-addition", "column-rename", "column-removal"),
    *("column-multi-removal", "column-move", "column-move-first", "column-move-last", "column-move-left"),
    *("column-move-right", "column-reorder", "column-split", "row-removal", "row-keep-matched", "row-star", "row-flag"),
    *("row-duplicate-removal", "row-reorder"),
}


@dataclass
class Step:
    """One operation, as it is in the file and ready to run, and what it has done so far."""

    number: int
    op: str
    description: str
    prepared: Prepared
    item: dict[str, Any]
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
    return Step(number, op, description, OPERATIONS[name](fields), item)


def replay(steps: list[Step], tables: Iterable[Table], folder: Path | None = None) -> Iterator[Table]:
    """The tables (consecutive parts of one table) after all steps, as soon as each part is done.

    A step that needs whole records gets parts that cut none. One that must see all parts first has them wait in
    `folder` (by default TMPDIR). Afterwards each step holds its counts and time.
    """
    found = iter(tables)
    for step in steps:
        found = _through(step, found, folder)
    yield from found


def _through(step: Step, tables: Iterator[Table], folder: Path | None) -> Iterator[Table]:
    prepared = step.prepared
    if prepared.needs == "records":
        tables = whole_records(tables)
    clock = _Clock(_placed(step, tables))
    done: Iterator[tuple[Table, int]]
    if prepared.run:
        done = map(prepared.run, _surveyed(prepared.survey, clock, folder))
    else:
        assert prepared.through
        done = prepared.through(clock, folder)
    while True:
        started, before = time.perf_counter(), clock.seconds
        try:
            result, changed = next(done)
        except StopIteration:
            return
        except NotSupported as error:
            raise UserError(f"{step.where}: {error} is not supported; nothing was written") from None
        except UserError as error:
            if clock.failed:  # an earlier step, which has said so
                raise
            raise UserError(f"{step.where}: {error}; nothing was written") from None
        finally:
            step.seconds += time.perf_counter() - started - (clock.seconds - before)
        step.rows_out += result.rows
        step.changed += changed
        yield result


class _Clock(Iterator[Table]):
    """Parts, and how long it took to get them."""

    def __init__(self, tables: Iterator[Table]) -> None:
        self._tables, self.seconds, self.failed = tables, 0.0, False

    def __next__(self) -> Table:
        started = time.perf_counter()
        try:
            return next(self._tables)
        except StopIteration:
            raise
        except BaseException:
            self.failed = True
            raise
        finally:
            self.seconds += time.perf_counter() - started


def _placed(step: Step, tables: Iterator[Table]) -> Iterator[Table]:
    """The parts with their places: rows may have gone before, and an operation counts the rows that it gets."""
    first_record = 0
    for table in tables:
        yield replace(table, start=step.rows_in, first_record=first_record)
        step.rows_in += table.rows
        first_record += len(records(table)) if step.prepared.needs == "records" else 0


def _surveyed(survey: Callable[[Table], None] | None, tables: Iterator[Table], folder: Path | None) -> Iterator[Table]:
    """The parts, which wait on disk until `survey` has seen all."""
    if survey is None:
        yield from tables
        return
    with tempfile.TemporaryFile(prefix="llm-assets-replay-", dir=folder) as waiting:
        for table in tables:
            survey(table)
            waiting.write(dumps([table.names, [getattr(table, name) for name in BESIDE], *table.columns.values()]))
            waiting.write(b"\n")
        waiting.seek(0)
        for line in waiting:
            names, beside, *cells = loads(line)
            yield Table(dict(zip(names, cells, strict=True)), *beside)
