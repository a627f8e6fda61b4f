"""Columns of a table in standard forms, and their missing values by policy.

A value that can be read in one way only gets its standard form. One that can be read in several (01/02/2003, 1,234) is
read as the rest of its column says, or as the policy does; where neither decides it is left, blanked or rejected, with
the reason. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.standard_forms import Form, Standard, survey
from llm_assets.data.stored import Stored, Storing
from llm_assets.data.table_config import ColumnPolicy
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 12


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
    table: Stored, policies: Sequence[ColumnPolicy], out: Path, gone: Storing
) -> tuple[Stored, list[ColumnReport]]:
    """(the rows that are not rejected, in the file `out`; a report a column). The columns named become text; `gone`
    gets what is rejected, with reason and detail. The rows are read again for each policy, and never held.

    Raises UserError for a column that is not there.
    """
    import pyarrow as pa

    standards: list[Standard] = []
    schema = table.schema
    for policy in policies:
        if policy.column not in schema.names:
            raise UserError(f"no column {policy.column!r} to standardise; there are {', '.join(schema.names)}")
        standards.append(survey(_column(table, policy.column, standards), policy, out.parent))
        place = schema.get_field_index(policy.column)
        schema = schema.set(place, pa.field(policy.column, pa.string()))
    mappers = [_Mapper(standard) for standard in standards]
    with Storing(out, schema) as kept:
        for numbers, batch in table.batches():
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            rejected: dict[int, tuple[str, str]] = {}
            for mapper in mappers:
                name = mapper.report.column
                columns[name], found = mapper.map(columns[name])
                rejected = {**found, **rejected}  # the first policy says why
            order = sorted(rejected)
            whole = pa.record_batch(list(columns.values()), schema=schema)
            stays = np.ones(batch.num_rows, dtype=bool)
            stays[order] = False
            kept.add(numbers[stays], whole.filter(pa.array(stays)))
            said = [pa.array([rejected[row][side] for row in order], pa.string()) for side in (0, 1)]
            gone.add(numbers[order], pa.record_batch(said, names=["reason", "detail"]))
    return kept.stored(), [mapper.report for mapper in mappers]


def _column(table: Stored, name: str, standards: Sequence[Standard]) -> Callable[[], Iterator[pa.Array]]:
    """The texts of a column as earlier policies leave them."""

    def texts() -> Iterator[pa.Array]:
        earlier = [_Mapper(standard) for standard in standards if standard.policy.column == name]
        for cells in table.column(name):
            for mapper in earlier:
                cells, _ = mapper.map(cells)
            yield _as_texts(cells)

    return texts


class _Mapper:
    """Cells of a column in standard form, batch by batch in their order; `report` counts them."""

    def __init__(self, standard: Standard) -> None:
        policy = self._policy = standard.policy
        self._fill, self._last = standard.fill, None
        self._read, self._form = standard.text_reader(), standard.former()
        self.report = ColumnReport(policy.column, policy.kind, decided=standard.decided)

    def map(self, raw: pa.Array) -> tuple[pa.Array, dict[int, tuple[str, str]]]:
        """(cells, row -> (reason, detail) of those that are rejected)."""
        import pyarrow as pa

        encoded = _as_texts(raw).dictionary_encode()
        places = encoded.indices.fill_null(-1).to_numpy()
        values = encoded.dictionary.to_pylist()
        forms = [(text, Form(None) if text is None else self._form(text)) for text in map(self._read, values)]
        counts = np.bincount(places[places >= 0], minlength=len(values)).tolist()
        self.report.rows += len(places)
        self.report.missing += int((places < 0).sum())
        cells: list[str | None] = []
        rejects: dict[int, tuple[str, str]] = {}
        for at, ((text, form), value, count) in enumerate(zip(forms, values, counts, strict=True)):
            cells.append(self._cell(text, form))
            self._count(text, form, form.value == value and pa.types.is_string(raw.type), count)
            if form.reason and self._policy.unreadable == "reject":
                reason = "ambiguous" if form.reason.startswith("ambiguous") else "unreadable"
                rejects[at] = (reason, f"{text!r}: {form.reason}")
        some = np.flatnonzero(np.isin(places, list(rejects))).tolist() if rejects else []
        found = {row: rejects[int(places[row])] for row in some}
        filled = self._filled(pa.array(cells, pa.string()).take(encoded.indices))
        if self._policy.missing == "drop":
            missing = ("missing", f"no value in {self._policy.column}")
            empty = np.flatnonzero(filled.is_null().to_numpy(zero_copy_only=False)).tolist()
            found |= dict.fromkeys(empty, missing)
        return filled, found

    def _cell(self, text: str | None, form: Form) -> str | None:
        if form.reason:
            return None if self._policy.unreadable == "blank" else text
        return form.value

    def _count(self, text: str | None, form: Form, same: bool, count: int) -> None:
        report = self.report
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
            if len(report.after) > SHOWN:
                del report.after[max(report.after)]

    def _filled(self, cells: pa.Array) -> pa.Array:
        """The missing cells by policy; one that has nothing to fill with leaves them."""
        import pyarrow as pa
        import pyarrow.compute as pc

        before = cells.null_count
        if self._policy.missing == "fill_down":
            ahead = pa.concat_arrays([pa.array([self._last], pa.string()), cells])
            cells = pc.fill_null_forward(ahead).slice(1)
            self._last = cells[-1].as_py() if len(cells) else self._last
        elif self._fill is not None:
            cells = pc.fill_null(cells, self._fill)
        self.report.filled += before - cells.null_count
        return cells


def _as_texts(cells: pa.Array) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_string(cells.type):
        return cells
    return pa.array([None if cell is None else str(cell) for cell in cells.to_pylist()], pa.string())
