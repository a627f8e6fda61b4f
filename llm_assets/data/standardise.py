"""Columns of a table in standard forms, and their missing values by policy.

A value that can be read in one way only gets its standard form. One that can be read in several (01/02/2003, 1,234) is
read as the rest of its column says, or as the policy does; where neither decides it is left, blanked or rejected, with
the reason. Nothing is guessed.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from llm_assets.data.labels import label_merges
from llm_assets.data.readings import date_readings, number_readings
from llm_assets.data.table_config import ColumnPolicy
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

# A value's readings: how it was read (an order, a decimal sign; "" where that does not matter) -> its standard form.
Readings = Mapping[str, str]


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
    samples: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Rejection:
    row: int
    column: str
    reason: str  # "missing", "ambiguous", "unreadable"
    detail: str


@dataclass(frozen=True)
class _Outcome:
    value: str | None
    reason: str = ""  # "" or why there is no standard form


def standardise(
    table: pa.Table, policies: Sequence[ColumnPolicy]
) -> tuple[pa.Table, list[Rejection], list[ColumnReport]]:
    """(table without the rejected rows, the rejections by row, a report a column). The columns named become text.

    Raises UserError for a column that is not there.
    """
    import pyarrow as pa

    rejections: dict[int, Rejection] = {}
    reports = []
    for policy in policies:
        if policy.column not in table.schema.names:
            raise UserError(f"no column {policy.column!r} to standardise; there are {', '.join(table.schema.names)}")
        cells, found, report = _standard_column(table[policy.column].to_pylist(), policy)
        for rejection in found:
            rejections.setdefault(rejection.row, rejection)
        place = table.schema.get_field_index(policy.column)
        table = table.set_column(place, policy.column, pa.array(cells, pa.string()))
        reports.append(report)
    kept = [row for row in range(table.num_rows) if row not in rejections]
    return table.take(pa.array(kept, pa.int64())), [rejections[row] for row in sorted(rejections)], reports


def _standard_column(
    raw: Sequence[Any], policy: ColumnPolicy
) -> tuple[list[str | None], list[Rejection], ColumnReport]:
    absent = {text.casefold() for text in policy.missing_texts}
    texts = [None if cell is None else _tidy(str(cell)) for cell in raw]
    texts = [None if text is None or text.casefold() in absent else text for text in texts]
    counts = Counter(text for text in texts if text is not None)
    report = ColumnReport(policy.column, policy.kind, rows=len(raw))
    outcomes = _outcomes(counts, policy, report)
    cells: list[str | None] = []
    rejections: list[Rejection] = []
    for row, (before, text) in enumerate(zip(raw, texts, strict=True)):
        if text is None:
            report.missing += 1
            cells.append(None)
            continue
        outcome = outcomes[text]
        if outcome.reason:
            ambiguous = outcome.reason.startswith("ambiguous")
            report.ambiguous += ambiguous
            report.unreadable += not ambiguous
            if policy.unreadable == "reject":
                reason = "ambiguous" if ambiguous else "unreadable"
                rejections.append(Rejection(row, policy.column, reason, f"{text!r}: {outcome.reason}"))
            cells.append(None if policy.unreadable == "blank" else text)
            continue
        report.standard += outcome.value == before
        report.changed += outcome.value != before
        cells.append(outcome.value)
    valid = Counter(outcomes[text].value for text in texts if text is not None and not outcomes[text].reason)
    rejections += _fill(cells, valid, policy, report)
    for text in sorted(counts):
        outcome = outcomes[text]
        if len(report.samples) < 12 and (outcome.reason or outcome.value != text):
            report.samples.append(
                {"what": policy.column, "before": text, "after": outcome.reason or outcome.value or ""}
            )
    return cells, rejections, report


def _tidy(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _outcomes(counts: Counter[str], policy: ColumnPolicy, report: ColumnReport) -> dict[str, _Outcome]:
    """What becomes of each distinct text."""
    if policy.kind == "text":
        return {text: _Outcome(text) for text in counts}
    if policy.kind == "label":
        merges = label_merges(dict(counts), policy.labels)
        heads = {spelling: merge.label for merge in merges for spelling in merge.spellings}
        report.decided = f"{len(heads)} spellings merged into {len(merges)} labels" if merges else ""
        return {text: _Outcome(heads.get(text, text)) for text in counts}
    if policy.kind == "date":
        dates = {text: date_readings(text, policy.pivot) for text in counts}
        return _decided(dates, counts, policy, report, "" if policy.order == "evidence" else policy.order)
    unit = _common_unit(counts)
    numbers = {text: number_readings(text, unit) for text in counts}
    report.decided = f"the unit {unit!r} was taken off; " if unit else ""
    return _decided(numbers, counts, policy, report, "" if policy.decimal == "evidence" else policy.decimal)


def _decided(
    readings: Mapping[str, Readings], counts: Counter[str], policy: ColumnPolicy, report: ColumnReport, wanted: str
) -> dict[str, _Outcome]:
    """Each text's form; ambiguous ones by `wanted`, or by the values of the column that fit one way only."""
    votes: Counter[str] = Counter()
    for text, ways in readings.items():
        if len(ways) == 1 and "" not in ways:
            votes[next(iter(ways))] += counts[text]
    if wanted:
        way, report.decided = wanted, report.decided + f"{wanted}, as the policy says"
    else:
        clear = len(votes) == 1 and min(votes.values()) >= policy.min_evidence
        way = next(iter(votes)) if clear else ""
        shown = ", ".join(f"{count} values can only be {name}" for name, count in sorted(votes.items()))
        report.decided += f"{way or 'undecided'}: {shown or 'no value can be read in one way only'}"
    found = {}
    for text, ways in readings.items():
        forms = sorted(set(ways.values()))
        if not forms:
            found[text] = _Outcome(None, f"no {policy.kind}")
        elif len(forms) == 1:
            found[text] = _Outcome(forms[0])
        elif way in ways:
            found[text] = _Outcome(ways[way])
        else:
            found[text] = _Outcome(None, f"ambiguous: {' or '.join(forms)}")
    return found


def _common_unit(counts: Counter[str]) -> str:
    """The currency sign or % that every value has; where only some have it, no value is one number of a kind."""
    found = {next((char for char in text if char == "%" or unicodedata.category(char) == "Sc"), "") for text in counts}
    return found.pop() if len(found) == 1 else ""


def _fill(
    cells: list[str | None], valid: Counter[str | None], policy: ColumnPolicy, report: ColumnReport
) -> list[Rejection]:
    """Fill the missing cells by policy, in place; a policy that has nothing to fill with leaves them."""
    if policy.missing == "keep":
        return []
    empty = [row for row, cell in enumerate(cells) if cell is None]
    if policy.missing == "drop":
        return [Rejection(row, policy.column, "missing", f"no value in {policy.column}") for row in empty]
    if policy.missing == "fill_down":
        last = None
        for row, cell in enumerate(cells):
            last = cell if cell is not None else last
            report.filled += cell is None and last is not None
            cells[row] = last
        return []
    makers: dict[str, Callable[[], str | None]] = {
        "constant": lambda: policy.constant,
        "mode": lambda: min(valid, key=lambda value: (-valid[value], str(value)), default=None),
        "median": lambda: _median(valid),
    }
    value = makers[policy.missing]()
    for row in empty if value is not None else []:
        cells[row] = value
        report.filled += 1
    return []


def _median(valid: Counter[str | None]) -> str | None:
    numbers = sorted(Decimal(text) for text in valid.elements() if text is not None)
    if not numbers:
        return None
    middle = len(numbers) // 2
    found = numbers[middle] if len(numbers) % 2 else (numbers[middle - 1] + numbers[middle]) / 2
    return format(found, "f")
