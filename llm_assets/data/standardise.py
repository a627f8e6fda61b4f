"""Columns of a table in standard forms, and their missing values by policy.

A value that can be read in one way only gets its standard form. One that can be read in several (01/02/2003, 1,234) is
read as the rest of its column says, or as the policy does; where neither decides it is left, blanked or rejected, with
the reason. Nothing is guessed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from heapq import nsmallest
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llm_assets.data.executor import InOrder
from llm_assets.data.standard_forms import Form, Forms, Standard, as_texts, survey
from llm_assets.data.stored import Stored, Storing
from llm_assets.data.table_config import ColumnPolicy
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_assets.data.stored import Numbered

SHOWN = 12
COUNTS = ("rows", "standard", "changed", "ambiguous", "unreadable", "missing")


@dataclass
class ColumnReport:
    """What became of one column, in rows. decided: how the ambiguous ones were read, with the evidence."""

    column: str
    kind: str
    rows: int = 0
    standard: int = 0  # in its standard form already
    changed: int = 0
    ambiguous: int = 0
    unreadable: int = 0
    missing: int = 0
    filled: int = 0
    decided: str = ""
    after: dict[str, str] = field(default_factory=dict)  # of the first texts of the alphabet that did not stay

    @property
    def samples(self) -> list[dict[str, str]]:
        return [{"what": self.column, "before": text, "after": self.after[text]} for text in sorted(self.after)]


def standardise(
    table: Stored, policies: Sequence[ColumnPolicy], out: Path, gone: Storing, each: InOrder
) -> tuple[Stored, list[ColumnReport]]:
    """(the rows that are not rejected, in the file `out`; a report a column). The columns named become text; `gone`
    gets what is rejected, with reason and detail. The rows are read again for each policy, and never held; batches are
    worked on by `each`.

    Raises UserError for a column that is not there.
    """
    import pyarrow as pa

    standards: list[Standard] = []
    schema = table.schema
    for policy in policies:
        if policy.column not in schema.names:
            raise UserError(f"no column {policy.column!r} to standardise; there are {', '.join(schema.names)}")
        standards.append(survey(_column(table, policy.column, standards), policy, out.parent, each))
        place = schema.get_field_index(policy.column)
        schema = schema.set(place, pa.field(policy.column, pa.string()))
    takers = [_Taker(standard) for standard in standards]
    firsts = {taker.report.column: taker.forms for taker in reversed(takers)}  # a later one needs what they leave
    waiting: deque[Numbered] = deque()

    def raw() -> Iterator[list[pa.Array]]:
        for numbers, batch in table.batches():
            waiting.append((numbers, batch))
            yield [batch[name] for name in firsts]

    with Storing(out, schema) as kept:
        for found in each(partial(_mapped_all, list(firsts.values())), raw()):
            numbers, batch = waiting.popleft()
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            mapped = dict(zip(firsts, found, strict=True))
            rejected: dict[int, tuple[str, str]] = {}
            for taker in takers:
                name = taker.report.column
                one = mapped.pop(name, None) or _mapped(taker.forms, columns[name])
                columns[name], rejects = taker.take(one)
                rejected = {**rejects, **rejected}  # the first policy says why
            order = sorted(rejected)
            whole = pa.record_batch(list(columns.values()), schema=schema)
            stays = np.ones(batch.num_rows, dtype=bool)
            stays[order] = False
            kept.add(numbers[stays], whole.filter(pa.array(stays)))
            said = [pa.array([rejected[row][side] for row in order], pa.string()) for side in (0, 1)]
            gone.add(numbers[order], pa.record_batch(said, names=["reason", "detail"]))
    return kept.stored(), [taker.report for taker in takers]


def _column(table: Stored, name: str, standards: Sequence[Standard]) -> Callable[[], Iterator[pa.Array]]:
    """The cells of a column as earlier policies leave them."""

    def cells_of() -> Iterator[pa.Array]:
        earlier = [_Taker(standard) for standard in standards if standard.policy.column == name]
        for cells in table.column(name):
            for taker in earlier:
                cells, _ = taker.take(_mapped(taker.forms, cells))
            yield cells

    return cells_of


class _Mapped(NamedTuple):
    """A column of a batch by its standard. rejects: row -> (reason, detail); report: of this batch."""

    cells: pa.Array
    rejects: dict[int, tuple[str, str]]
    report: ColumnReport


def _mapped_all(forms: Sequence[Forms], columns: Sequence[pa.Array]) -> list[_Mapped]:
    return [_mapped(one, raw) for one, raw in zip(forms, columns, strict=True)]


def _mapped(forms: Forms, raw: pa.Array) -> _Mapped:
    """Cells in standard form, those that are missing still so."""
    import pyarrow as pa

    policy, was_text = forms.policy, pa.types.is_string(raw.type)
    encoded = as_texts(raw).dictionary_encode()
    places = encoded.indices.fill_null(-1).to_numpy()
    values = encoded.dictionary.to_pylist()
    counts = np.bincount(places[places >= 0], minlength=len(values)).tolist()
    report = ColumnReport(policy.column, policy.kind, len(places), missing=int((places < 0).sum()))
    cells: list[str | None] = []
    rejects: dict[int, tuple[str, str]] = {}
    for at, (value, count) in enumerate(zip(values, counts, strict=True)):
        text = forms.read(value)
        form = Form(None) if text is None else forms.form(text)
        kept = None if policy.unreadable == "blank" else text
        cells.append(kept if form.reason else form.value)
        _count(report, text, form, was_text and form.value == value, count)
        if form.reason and policy.unreadable == "reject":
            reason = "ambiguous" if form.reason.startswith("ambiguous") else "unreadable"
            rejects[at] = (reason, f"{text!r}: {form.reason}")
    some = np.flatnonzero(np.isin(places, list(rejects))).tolist() if rejects else []
    taken = pa.array(cells, pa.string()).take(encoded.indices)
    report.after = _first_of(report.after)
    return _Mapped(taken, {row: rejects[int(places[row])] for row in some}, report)


def _count(report: ColumnReport, text: str | None, form: Form, same: bool, count: int) -> None:
    if text is None:
        report.missing += count
        return
    if form.reason:
        ambiguous = form.reason.startswith("ambiguous")
        report.ambiguous += ambiguous * count
        report.unreadable += (not ambiguous) * count
    else:
        report.standard += same * count
        report.changed += (not same) * count
    if form.reason or form.value != text:
        report.after[text] = form.reason or form.value or ""


def _first_of(after: dict[str, str]) -> dict[str, str]:
    return {text: after[text] for text in nsmallest(SHOWN, after)}


class _Taker:
    """Fills what is missing in the batches of a column, which come in their order; `report` counts all of it."""

    def __init__(self, standard: Standard) -> None:
        self.forms, self._fill, self._last = Forms(standard), standard.fill, None
        self.report = ColumnReport(standard.policy.column, standard.policy.kind, decided=standard.decided)

    def take(self, mapped: _Mapped) -> tuple[pa.Array, dict[int, tuple[str, str]]]:
        """(cells, row -> (reason, detail) of those that are rejected)."""
        for name in COUNTS:
            setattr(self.report, name, getattr(self.report, name) + getattr(mapped.report, name))
        self.report.after = _first_of(self.report.after | mapped.report.after)
        filled, rejects = self._filled(mapped.cells), mapped.rejects
        if self.forms.policy.missing == "drop":
            missing = ("missing", f"no value in {self.report.column}")
            empty = np.flatnonzero(filled.is_null().to_numpy(zero_copy_only=False)).tolist()
            rejects = rejects | dict.fromkeys(empty, missing)
        return filled, rejects

    def _filled(self, cells: pa.Array) -> pa.Array:
        """The missing cells by policy; one that has nothing to fill with leaves them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        before = cells.null_count
        if self.forms.policy.missing == "fill_down":
            ahead = pa.concat_arrays([pa.array([self._last], pa.string()), cells])
            cells = pc.fill_null_forward(ahead).slice(1)
            self._last = cells[-1].as_py() if len(cells) else self._last
        elif self._fill is not None:
            cells = pc.fill_null(cells, self._fill)
        self.report.filled += before - cells.null_count
        return cells
