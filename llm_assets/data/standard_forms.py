"""How the texts of a column are read: decided by all of it, in passes that hold votes and no rows."""

from __future__ import annotations

import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.coded import coded
from llm_assets.data.executor import InOrder
from llm_assets.data.labels import bounded, label_merges
from llm_assets.data.readings import date_readings, number_readings
from llm_assets.data.remembered import remembered
from llm_assets.data.table_config import ColumnPolicy

if TYPE_CHECKING:
    import pyarrow as pa

    Column = Callable[[], Iterator[pa.Array]]  # cells, batch by batch, the same each time

# A value's readings: how it was read (an order, a decimal sign; "" where that does not matter) -> its standard form.
Readings = Mapping[str, str]
TOGETHER = 2**16  # values that are looked at together


@dataclass(frozen=True, slots=True)
class Form:
    """value: the standard form; reason: "" or why there is none."""

    value: str | None
    reason: str = ""


@dataclass(frozen=True)
class Standard:
    """What was decided of a column. way: how ambiguous texts are read, "" where they are not; unit: what is taken off
    numbers; heads: spelling -> label; decided: this with its evidence; fill: what missing cells become, None: nothing.
    """

    policy: ColumnPolicy
    way: str = ""
    unit: str = ""
    heads: Mapping[str, str] = field(default_factory=dict)
    decided: str = ""
    fill: str | None = None

    def text_reader(self) -> Callable[[str], str | None]:
        """A raw text as it counts: NFC, single blanks; None where it is missing."""
        absent = {text.casefold() for text in self.policy.missing_texts}

        def read(raw: str) -> str | None:
            text = " ".join(unicodedata.normalize("NFC", raw).split())
            return None if text.casefold() in absent else text

        return remembered(read)

    def readings(self) -> Callable[[str], Readings]:
        """All the ways in which a text can be read."""
        policy, unit = self.policy, self.unit
        if policy.kind == "date":
            return lambda text: date_readings(text, policy.pivot)
        return lambda text: number_readings(text, unit)

    def former(self) -> Callable[[str], Form]:
        """The standard form of a text."""
        kind, readings = self.policy.kind, self.readings()
        if kind == "text":
            return Form
        if kind == "label":
            return lambda text: Form(self.heads.get(text, text))

        def form(text: str) -> Form:
            ways = readings(text)
            forms = sorted(set(ways.values()))
            if not forms:
                return Form(None, f"no {kind}")
            if len(forms) == 1:
                return Form(forms[0])
            return Form(ways[self.way]) if self.way in ways else Form(None, f"ambiguous: {' or '.join(forms)}")

        return remembered(form)


class Forms:
    """How cells are read by a standard. What it remembers does not go with it to other processes."""

    def __init__(self, standard: Standard) -> None:
        self.standard, self.policy = standard, standard.policy
        self.read, self.form = standard.text_reader(), standard.former()
        self.readings = remembered(standard.readings())

    def __reduce__(self) -> tuple[type[Forms], tuple[Standard]]:
        return Forms, (self.standard,)

    def texts(self, cells: pa.Array) -> Iterator[tuple[str, int]]:
        """The texts of a batch with their rows, a text once for each way it is written."""
        for raw, count in _counted(as_texts(cells)):
            text = self.read(raw)
            if text is not None:
                yield text, count

    def values(self, cells: pa.Array) -> Iterator[tuple[str, int]]:
        """The standard forms of a batch with their rows."""
        for text, count in self.texts(cells):
            found = self.form(text)
            if not found.reason and found.value is not None:
                yield found.value, count


def as_texts(cells: pa.Array) -> pa.Array:
    """Cells of any type as texts."""
    import pyarrow as pa

    if pa.types.is_string(cells.type):
        return cells
    return pa.array([None if cell is None else str(cell) for cell in cells.to_pylist()], pa.string())


def survey(column: Column, policy: ColumnPolicy, folder: Path, each: InOrder) -> Standard:
    """How `column` is to be read, and what its missing cells become. Batches are looked at by `each`.

    Held in memory: of labels that are merged the distinct ones, which are bounded; for `missing: median` eight bytes a
    row, for `mode` twelve and sixteen a distinct value, which wait in `folder`; otherwise counts. Raises UserError for
    too many labels.
    """
    found = Standard(policy)
    if policy.kind == "label":
        found = _labels(column, found, each)
    elif policy.kind == "date":
        found = _voted(column, found, policy.order, each)
    elif policy.kind == "number":
        units = set[str]().union(*each(partial(_units, Forms(found)), column()))
        unit = units.pop() if len(units) == 1 else ""  # where only some have it, no value is one number of a kind
        said = f"the unit {unit!r} was taken off; " if unit else ""
        found = _voted(column, replace(found, unit=unit, decided=said), policy.decimal, each)
    if policy.missing == "constant":
        return replace(found, fill=policy.constant)
    if policy.missing == "mode":
        return replace(found, fill=_mode(column, found, folder, each))
    return replace(found, fill=_median(column, found, each)) if policy.missing == "median" else found


def _counted(texts: pa.Array) -> Iterator[tuple[str, int]]:
    """The distinct texts with their rows, in the order of their first."""
    encoded = texts.drop_null().dictionary_encode()
    counts = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary))
    return zip(encoded.dictionary.to_pylist(), counts.tolist(), strict=True)


def _labels(column: Column, standard: Standard, each: InOrder) -> Standard:
    policy, counts = standard.policy, dict[str, int]()
    if policy.labels.merge == "none":
        return standard
    for found in each(partial(_label_counts, Forms(standard)), column()):
        for text, count in found.items():
            counts[text] = counts.get(text, 0) + count
        bounded(counts, f"column {policy.column!r} of kind label")
    merges = label_merges(counts, policy.labels)
    heads = {spelling: merge.label for merge in merges for spelling in merge.spellings}
    decided = f"{len(heads)} spellings merged into {len(merges)} labels" if merges else ""
    return replace(standard, heads=heads, decided=decided)


def _label_counts(forms: Forms, cells: pa.Array) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text, count in forms.texts(cells):
        counts[text] = counts.get(text, 0) + count
    return counts


def _voted(column: Column, standard: Standard, wanted: str, each: InOrder) -> Standard:
    """The way that is `wanted`, or by evidence: that of the values of the column that fit one way only."""
    if wanted != "evidence":
        return replace(standard, way=wanted, decided=standard.decided + f"{wanted}, as the policy says")
    votes = Counter[str]()
    for found in each(partial(_votes, Forms(standard)), column()):
        votes.update(found)
    clear = len(votes) == 1 and min(votes.values()) >= standard.policy.min_evidence
    way = next(iter(votes)) if clear else ""
    shown = ", ".join(f"{count} values can only be {name}" for name, count in sorted(votes.items()))
    said = f"{way or 'undecided'}: {shown or 'no value can be read in one way only'}"
    return replace(standard, way=way, decided=standard.decided + said)


def _votes(forms: Forms, cells: pa.Array) -> Counter[str]:
    votes = Counter[str]()
    for text, count in forms.texts(cells):
        ways = forms.readings(text)
        if len(ways) == 1 and "" not in ways:
            votes[next(iter(ways))] += count
    return votes


def _units(forms: Forms, cells: pa.Array) -> set[str]:
    return {_unit(text) for text, _ in forms.texts(cells)}


def _unit(text: str) -> str:
    """The currency sign or % of a text."""
    return next((char for char in text if char == "%" or unicodedata.category(char) == "Sc"), "")


def _mode(column: Column, standard: Standard, folder: Path, each: InOrder) -> str | None:
    """The most frequent value, of several the first in the alphabet."""
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        found = coded(lambda: each(partial(_filled, Forms(standard)), column()), Path(scratch) / "values")
        if not len(found.counts):
            return None
        best = np.flatnonzero(found.counts == found.counts.max())
        parts = (best[first : first + TOGETHER] for first in range(0, len(best), TOGETHER))
        return min(min(found.texts_of(part)) for part in parts)


def _filled(forms: Forms, cells: pa.Array) -> pa.Array:
    """The standard forms of those rows that have one."""
    import pyarrow as pa

    encoded = as_texts(cells).drop_null().dictionary_encode()
    texts = map(forms.read, encoded.dictionary.to_pylist())
    values = pa.array([None if text is None else forms.form(text).value for text in texts], pa.string())
    return values.take(encoded.indices).drop_null()


def _median(column: Column, standard: Standard, each: InOrder) -> str | None:
    """The exact median of numbers: a float of each says which are in the middle, and those are compared as decimals."""
    forms = Forms(standard)
    every = np.concatenate([np.zeros(0), *each(partial(_floats, forms), column())])
    if not len(every):
        return None
    at = len(every) // 2
    places = [at] if len(every) % 2 else [at - 1, at]
    every.partition(places)
    middle = {place: float(every[place]) for place in places}
    counts = {number: Counter[str]() for number in middle.values()}
    for texts in each(partial(_texts_of, forms, set(counts)), column()):
        for value, count in texts.items():
            counts[float(value)][value] += count
    found = []
    for place, number in middle.items():
        equal = sorted(Decimal(text) for text in counts[number].elements())
        found.append(equal[place - int((every < number).sum())])
    return format(found[0] if len(found) == 1 else (found[0] + found[1]) / 2, "f")


def _floats(forms: Forms, cells: pa.Array) -> np.ndarray:
    """The number of each row that has one: float64."""
    values = list(forms.values(cells))
    return np.repeat(np.array([float(value) for value, _ in values]), [count for _, count in values])


def _texts_of(forms: Forms, numbers: set[float], cells: pa.Array) -> Counter[str]:
    """The values that are these numbers, with their rows."""
    texts = Counter[str]()
    for value, count in forms.values(cells):
        if float(value) in numbers:
            texts[value] += count
    return texts
