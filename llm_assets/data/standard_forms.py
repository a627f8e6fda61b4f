"""How the texts of a column are read: decided by all of it, in passes that hold votes and no rows."""

from __future__ import annotations

import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.coded import coded
from llm_assets.data.labels import label_merges
from llm_assets.data.readings import date_readings, number_readings
from llm_assets.data.remembered import remembered
from llm_assets.data.table_config import ColumnPolicy

if TYPE_CHECKING:
    import pyarrow as pa

    Column = Callable[[], Iterator[pa.Array]]  # texts, batch by batch, the same each time

# A value's readings: how it was read (an order, a decimal sign; "" where that does not matter) -> its standard form.
Readings = Mapping[str, str]
TOGETHER = 2**16  # values that are looked at together


@dataclass(frozen=True)
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
        policy, unit = self.policy, self.unit
        if policy.kind == "date":
            return remembered(lambda text: date_readings(text, policy.pivot))
        return remembered(lambda text: number_readings(text, unit))

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


def survey(column: Column, policy: ColumnPolicy, folder: Path) -> Standard:
    """How `column` is to be read, and what its missing cells become.

    Held in memory: of labels the distinct ones; for `missing: median` eight bytes a row, for `mode` twelve and sixteen
    a distinct value, which wait in `folder`; otherwise counts.
    """
    found = Standard(policy)
    if policy.kind == "label":
        found = _labels(column, found)
    elif policy.kind == "date":
        found = _voted(column, found, policy.order)
    elif policy.kind == "number":
        units = {_unit(text) for text, _ in _texts(column, found)}
        unit = units.pop() if len(units) == 1 else ""  # where only some have it, no value is one number of a kind
        said = f"the unit {unit!r} was taken off; " if unit else ""
        found = _voted(column, replace(found, unit=unit, decided=said), policy.decimal)
    if policy.missing == "constant":
        return replace(found, fill=policy.constant)
    if policy.missing == "mode":
        return replace(found, fill=_mode(column, found, folder))
    return replace(found, fill=_median(column, found)) if policy.missing == "median" else found


def _texts(column: Column, standard: Standard) -> Iterator[tuple[str, int]]:
    """The texts of the column with their rows, a text once a batch at most for each way it is written."""
    read = standard.text_reader()
    for texts in column():
        for raw, count in _counted(texts):
            text = read(raw)
            if text is not None:
                yield text, count


def _counted(texts: pa.Array) -> Iterator[tuple[str, int]]:
    """The distinct texts with their rows, in the order of their first."""
    encoded = texts.drop_null().dictionary_encode()
    counts = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary))
    return zip(encoded.dictionary.to_pylist(), counts.tolist(), strict=True)


def _values(column: Column, standard: Standard) -> Iterator[tuple[str, int]]:
    """The standard forms of the column with their rows."""
    form = standard.former()
    for text, count in _texts(column, standard):
        found = form(text)
        if not found.reason and found.value is not None:
            yield found.value, count


def _labels(column: Column, standard: Standard) -> Standard:
    counts: dict[str, int] = {}
    for text, count in _texts(column, standard):
        counts[text] = counts.get(text, 0) + count
    merges = label_merges(counts, standard.policy.labels)
    heads = {spelling: merge.label for merge in merges for spelling in merge.spellings}
    decided = f"{len(heads)} spellings merged into {len(merges)} labels" if merges else ""
    return replace(standard, heads=heads, decided=decided)


def _voted(column: Column, standard: Standard, wanted: str) -> Standard:
    """The way that is `wanted`, or by evidence: that of the values of the column that fit one way only."""
    if wanted != "evidence":
        return replace(standard, way=wanted, decided=standard.decided + f"{wanted}, as the policy says")
    readings, votes = standard.readings(), Counter[str]()
    for text, count in _texts(column, standard):
        ways = readings(text)
        if len(ways) == 1 and "" not in ways:
            votes[next(iter(ways))] += count
    clear = len(votes) == 1 and min(votes.values()) >= standard.policy.min_evidence
    way = next(iter(votes)) if clear else ""
    shown = ", ".join(f"{count} values can only be {name}" for name, count in sorted(votes.items()))
    said = f"{way or 'undecided'}: {shown or 'no value can be read in one way only'}"
    return replace(standard, way=way, decided=standard.decided + said)


def _unit(text: str) -> str:
    """The currency sign or % of a text."""
    return next((char for char in text if char == "%" or unicodedata.category(char) == "Sc"), "")


def _mode(column: Column, standard: Standard, folder: Path) -> str | None:
    """The most frequent value, of several the first in the alphabet."""
    import pyarrow as pa

    form, read = standard.former(), standard.text_reader()

    def value_of(raw: str) -> str | None:
        text = read(raw)
        return None if text is None else form(text).value

    def values() -> Iterator[pa.Array]:
        for texts in column():
            encoded = texts.drop_null().dictionary_encode()
            forms = pa.array([value_of(raw) for raw in encoded.dictionary.to_pylist()], pa.string())
            yield forms.take(encoded.indices).drop_null()

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        found = coded(values, Path(scratch) / "values")
        if not len(found.counts):
            return None
        best = np.flatnonzero(found.counts == found.counts.max())
        parts = (best[first : first + TOGETHER] for first in range(0, len(best), TOGETHER))
        return min(min(found.texts_of(part)) for part in parts)


def _median(column: Column, standard: Standard) -> str | None:
    """The exact median of numbers: a float of each says which are in the middle, and those are compared as decimals."""
    numbers = [np.zeros(0)]
    for value, count in _values(column, standard):
        numbers.append(np.full(count, float(value)))
        if len(numbers) > TOGETHER:
            numbers = [np.concatenate(numbers)]
    every = np.concatenate(numbers)
    if not len(every):
        return None
    at = len(every) // 2
    places = [at] if len(every) % 2 else [at - 1, at]
    every.partition(places)
    middle = {place: float(every[place]) for place in places}
    counts = {number: Counter[str]() for number in middle.values()}
    for value, count in _values(column, standard):
        if (number := float(value)) in counts:
            counts[number][value] += count
    found = []
    for place, number in middle.items():
        equal = sorted(Decimal(text) for text in counts[number].elements())
        found.append(equal[place - int((every < number).sum())])
    return format(found[0] if len(found) == 1 else (found[0] + found[1]) / 2, "f")
