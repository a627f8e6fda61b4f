"""The profile of one column: counts gathered batch by batch, and what they say at the end.

Each batch is reduced to its distinct values first, so all work is done once a distinct value and by Arrow or NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.data.profile_counts import Counted, Counts, Numbers
from llm_assets.data.profile_histograms import frequent_bars, histogram, outliers, spread
from llm_assets.data.profile_labels import near_spellings
from llm_assets.data.profile_patterns import LONGEST, pattern_keys, pattern_of
from llm_assets.data.profile_policies import merging
from llm_assets.data.profile_types import CLEAN, FORMS, NUMERIC, Kind, choose_kind, match_forms

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 5
HELD_WITHIN = {  # a character that has to be there first, because looking for it is quick
    "an e-mail address": ("@", r"[A-Za-z0-9._%+-]+@([A-Za-z0-9-]+\.)+[A-Za-z]{2,24}"),
    "a web address": ("://", r"https?://\S"),
    "an HTML tag": ("</", r"</[a-zA-Z][a-zA-Z0-9]*>"),
}
# A list is counted as one text: its elements joined, with marks for what would else be taken for something different.
BETWEEN = "\x02"
MARKS = {"null": "\x012", "no elements": "\x013", "empty": "\x014"}
PLACEHOLDERS = {
    "na", "n/a", "n.a.", "nan", "null", "none", "nil", "-", "--", "?", "unknown", "empty", "missing", "tbd", "#n/a",
    "(null)", "<na>", "undefined", "not available", "9999-12-31", "1900-01-01",
}  # fmt: skip


@dataclass(frozen=True)
class Declared:
    """What is known of a column beforehand: its type, and what its values (as text) or numbers have to be."""

    kind: str
    pattern: str = ""
    above: float = -np.inf
    below: float = np.inf
    optional: bool = False


class ColumnProfile:
    """Feed it a column's batches, in order; then `finish`."""

    def __init__(self, name: str, declared: Declared | None = None) -> None:
        self.name, self.declared = name, declared
        self.rows = self.missing = self.spaces = self.unclean = self.long = self.wordy = self.refused = 0
        self.holding = dict.fromkeys(HELD_WITHIN, 0)
        self.arrow_type = ""
        self.values, self.patterns = Counts(), Counts(candidates=2048)
        self.numbers, self.lengths, self.years = Numbers(), Numbers(), Numbers()
        self.matches = dict.fromkeys(FORMS, 0)
        self.unlike: dict[str, dict[int, str]] = {name: {} for name in (*FORMS, "clean", "declared")}

    def skip(self, rows: int) -> None:
        """Rows that do not have this column."""
        self.rows += rows
        self.missing += rows

    def update(self, column: pa.Array) -> np.ndarray:
        """Count a batch. A 64-bit hash of each row's value (0 where it is missing): uint64 [rows]."""
        import pyarrow as pa
        import pyarrow.compute as pc

        self.arrow_type = str(column.type)
        texts, sizes = as_text(column)
        coded = texts.dictionary_encode()
        values = coded.dictionary
        indices = coded.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)
        counts = np.bincount(indices, minlength=len(values) + 1)[: len(values)].astype(np.int64)
        trimmed = pc.utf8_trim_whitespace(values)
        there = pc.not_equal(trimmed, "").to_numpy(zero_copy_only=False)
        present = int(counts[there].sum())
        self.rows += len(column)
        self.missing += len(column) - present
        hashes = np.zeros(len(values) + 1, np.uint64)
        if present:
            keep = pa.array(there)
            padded = pc.not_equal(pc.binary_length(values), pc.binary_length(trimmed)).to_numpy(zero_copy_only=False)
            self.spaces += int(counts[padded & there].sum())
            keys = _hash(values.filter(keep))
            hashes[:-1][there] = keys
            self._measure(values.filter(keep), trimmed.filter(keep), keys, counts[there])
        if sizes is not None:
            self.lengths.add(*_distinct(sizes))
        return hashes[indices]

    def finish(self) -> dict[str, Any]:
        """The column's profile, as plain data; `profile_table` says what is in it."""
        present = self.rows - self.missing
        counted, shapes = self.values.finish(), self.patterns.finish()
        for numbers in (self.numbers, self.lengths, self.years):
            numbers.merge()
        kind = self._kind(counted, present)
        mismatched, unlike = self._mismatched(kind, present)
        known = dict(counted.frequent)
        plain = _shown if self._is_list() else str
        patterns = [[pattern_of(text), count, text] for text, count in shapes.frequent[:10]]
        bars, meaning = self._histogram(kind, counted, present, patterns)
        numeric = kind.name in NUMERIC and self.numbers.values.size > 0
        measured, of = (self.numbers, "values") if numeric else (self.lengths, "lengths")
        ordered = numeric or kind.name in ("text", "url", "e-mail", "identifier", "list", "object", "phone")
        spellings = near_spellings(counted.frequent) if kind.name == "category" and counted.complete else []
        return {
            "type": kind.name,
            "evidence": round(kind.share, 6),
            "because": kind.because,
            "stored_as": self.arrow_type,
            "rows": self.rows,
            "valid": present - mismatched,
            "mismatched": mismatched,
            "missing": self.missing,
            "optional": bool(self.declared and self.declared.optional),
            "distinct": counted.distinct,
            "once": counted.once,
            "rarest": counted.frequent[-1][1] if counted.complete and counted.frequent else None,
            "top": [
                [plain(text), count] for text, count in counted.frequent[:12] if count > 1 or kind.name == "category"
            ],
            "examples": sorted(([plain(text), known.get(text)] for text in unlike), key=lambda pair: -(pair[1] or 0)),
            "histogram": bars,
            "histogram_of": meaning,
            "numbers": spread(self.numbers) if numeric else None,
            "lengths": spread(self.lengths) if self.lengths.values.size else None,
            "outliers": outliers(measured, of) if ordered else None,
            "patterns": patterns,
            "pattern_count": shapes.distinct,
            "spellings": spellings,
            "merging": merging(counted.frequent, spellings),
            "spaces": self.spaces,
            "unclean": self.unclean,
            "prose": round((self.long + self.wordy) / max(present, 1), 6),
            "holding": self.holding if kind.name == "text" else {},
            "placeholders": [[text, count] for text, count in counted.frequent if _placeholder(text)][:5],
        }

    def _histogram(
        self, kind: Kind, counted: Counted, present: int, patterns: list[list[Any]]
    ) -> tuple[list[list[Any]], str]:
        """(bars, what they are of)."""
        if not present:
            return [], "values"
        if kind.name in ("identifier", "phone", "uuid", "ip", "time") and patterns:
            return [[mark, count] for mark, count, _ in patterns], "patterns"
        if kind.name in NUMERIC and self.numbers.values.size:
            return histogram(self.numbers), "values, in ranges"
        if kind.name in ("date", "date and time") and self.years.values.size:
            return histogram(self.years, grouped=False), "years"
        if kind.name in ("category", "boolean") or not self.lengths.values.size:
            return frequent_bars(counted, present), "values"
        return histogram(self.lengths), "elements a list" if self._is_list() else "characters"

    def _is_list(self) -> bool:
        return self.arrow_type.startswith(("list", "large_list", "fixed_size_list"))

    def _kind(self, counted: Counted, present: int) -> Kind:
        if self.declared:
            return Kind(self.declared.kind, 1 - self.refused / max(present, 1), "declared by the document schema")
        if self._is_list():
            return Kind("list", 1.0, f"stored as {self.arrow_type}")
        return choose_kind(self.name, self.matches, present, counted.distinct, counted.once, self.long, self.wordy)

    def _mismatched(self, kind: Kind, present: int) -> tuple[int, list[str]]:
        if self.declared:
            return self.refused, list(self.unlike["declared"].values())
        if not kind.forms:
            return self.unclean, list(self.unlike["clean"].values())
        if len(kind.forms) > 1:  # a value has one of them at most
            examples = set.intersection(*(set(self.unlike[form].values()) for form in kind.forms))
            return present - sum(self.matches[form] for form in kind.forms), sorted(examples)
        return present - self.matches[kind.forms[0]], list(self.unlike[kind.forms[0]].values())

    def _measure(self, values: pa.Array, trimmed: pa.Array, keys: np.ndarray, counts: np.ndarray) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.values.add(keys, counts, values)
        lengths = pc.utf8_length(trimmed).to_numpy(zero_copy_only=False)
        if not self._is_list():
            self.lengths.add(*_distinct(lengths, counts))
        short = lengths <= LONGEST
        self.long += int(counts[~short].sum())
        matched = match_forms(trimmed)
        brief = trimmed.filter(pa.array(short))
        spoken = pc.greater_equal(pc.count_substring(brief, " "), 2).to_numpy(zero_copy_only=False)
        self.wordy += int(counts[short][spoken].sum())
        for form, hit in matched.items():
            self.matches[form] += int(counts[hit].sum())
            self._remember(form, values, keys, ~hit)
        dirty = pc.match_substring_regex(values, CLEAN).to_numpy(zero_copy_only=False)
        for what, (mark, form) in HELD_WITHIN.items():
            marked = pc.match_substring(values, mark)
            if marked.true_count:
                places = np.flatnonzero(marked.to_numpy(zero_copy_only=False))
                hit = pc.match_substring_regex(values.filter(marked), form).to_numpy(zero_copy_only=False)
                self.holding[what] += int(counts[places[hit]].sum())
        if self._is_list():
            dirty = np.zeros(len(values), bool)
        self.unclean += int(counts[dirty].sum())
        self._remember("clean", values, keys, dirty)
        shapes = pattern_keys(brief)
        unique, first, place = np.unique(shapes, return_index=True, return_inverse=True)
        sums = np.bincount(place, counts[short], unique.size).astype(np.int64)
        self.patterns.add(unique, sums, brief.take(pa.array(first)))
        numeric = matched["decimal"] | matched["percentage"] | matched["currency"]
        numbers = np.full(len(values), np.nan)
        if numeric.any():
            plain = pc.replace_substring_regex(trimmed.filter(pa.array(numeric)), r"[^0-9.eE+-]", "")
            numbers[numeric] = pc.cast(pc.replace_substring_regex(plain, r"^\+", ""), "float64")
            finite = np.isfinite(numbers)
            self.numbers.add(*_distinct(numbers[finite], counts[finite]))
        dated = matched["date"] | matched["date and time"]
        if dated.any():
            years = pc.extract_regex(trimmed.filter(pa.array(dated)), r"(?P<year>(?:1[5-9]|20)[0-9]{2})")
            known = years.is_valid().to_numpy(zero_copy_only=False)
            found = pc.cast(years.filter(pa.array(known)).field("year"), "float64")
            self.years.add(*_distinct(found.to_numpy(zero_copy_only=False), counts[dated][known]))
        if self.declared:
            right = np.ones(len(values), bool)
            if self.declared.pattern:
                right &= pc.match_substring_regex(values, self.declared.pattern).to_numpy(zero_copy_only=False)
            if np.isfinite([self.declared.above, self.declared.below]).any():
                right &= (numbers > self.declared.above) & (numbers < self.declared.below)
            self.refused += int(counts[~right].sum())
            self._remember("declared", values, keys, ~right)

    def _remember(self, what: str, values: pa.Array, keys: np.ndarray, wrong: np.ndarray) -> None:
        """The first few distinct values that are not of a form."""
        known = self.unlike[what]
        if len(known) < EXAMPLES:
            for place in np.flatnonzero(wrong)[: EXAMPLES + len(known)]:
                if len(known) < EXAMPLES:
                    known.setdefault(int(keys[place]), values[int(place)].as_py()[:200])


def as_text(column: pa.Array) -> tuple[pa.Array, np.ndarray | None]:
    """(the column as strings; the number of elements where it holds lists)."""
    import json

    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return as_text(column.dictionary_decode())
    if pa.types.is_string(kind):
        return column, None
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string()), None
    if pa.types.is_list(kind) and pa.types.is_string(kind.value_type):
        return _joined(column), pc.list_value_length(column.drop_null()).to_numpy(zero_copy_only=False).astype(float)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        values = column.to_pylist()
        plain = [None if value is None else json.dumps(value, ensure_ascii=False, default=str) for value in values]
        listed = [float(len(value)) for value in values if isinstance(value, list)]
        return pa.array(plain, pa.string()), np.array(listed) if listed else None
    return column.cast(pa.string()), None


def _joined(lists: pa.Array) -> pa.Array:
    """Each list of strings as one text; different lists are different texts."""
    import pyarrow as pa
    import pyarrow.compute as pc

    items = lists.flatten()
    for plain, escaped in (("\x01", "\x010"), (BETWEEN, "\x011")):
        items = pc.replace_substring(items, plain, escaped)
    items = pc.if_else(pc.equal(items, ""), MARKS["empty"], items).fill_null(MARKS["null"])
    lengths = pc.list_value_length(lists)
    ends = pa.array(np.concatenate([[0], np.cumsum(lengths.fill_null(0).to_numpy(zero_copy_only=False))]), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(ends, items), BETWEEN)
    joined = pc.if_else(pc.equal(lengths.fill_null(1), 0), MARKS["no elements"], joined)
    return pc.if_else(lists.is_null(), pa.scalar(None, pa.string()), joined)


def _shown(text: str) -> str:
    """A joined list as people read it."""
    for name, mark in MARKS.items():
        text = text.replace(mark, f"({name})")
    return text.replace(BETWEEN, ", ")


def _hash(values: pa.Array) -> np.ndarray:
    from pandas.util import hash_array

    hashed: np.ndarray = hash_array(values.to_numpy(zero_copy_only=False), categorize=False)
    return hashed


def _distinct(values: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    unique, place = np.unique(values, return_inverse=True)
    sums = np.bincount(place, counts, unique.size)
    return unique.astype(np.float64), sums.astype(np.int64)


def _placeholder(text: str) -> bool:
    return text.strip().lower() in PLACEHOLDERS
