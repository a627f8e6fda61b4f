"""What is counted of one column, batch by batch.

Each batch is reduced to its distinct values first, so all work is done once a distinct value and by Arrow or NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.profile_counts import Counts, Numbers
from llm_assets.data.profile_patterns import LONGEST, pattern_keys
from llm_assets.data.profile_texts import as_text
from llm_assets.data.profile_types import CLEAN, FORMS, match_forms

if TYPE_CHECKING:
    import pyarrow as pa

EXAMPLES = 5
HELD_WITHIN = {  # a character that has to be there first, because looking for it is quick
    "an e-mail address": ("@", r"[A-Za-z0-9._%+-]+@([A-Za-z0-9-]+\.)+[A-Za-z]{2,24}"),
    "a web address": ("://", r"https?://\S"),
    "an HTML tag": ("</", r"</[a-zA-Z][a-zA-Z0-9]*>"),
}


@dataclass(frozen=True)
class Declared:
    """What is known of a column beforehand: its type, and what its values (as text) or numbers have to be."""

    kind: str
    pattern: str = ""
    above: float = -np.inf
    below: float = np.inf
    optional: bool = False


class ColumnCounts:
    """Feed it a column's batches, in order; then `profile_judge.column_profile` says what it comes to."""

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

    def is_list(self) -> bool:
        return self.arrow_type.startswith(("list", "large_list", "fixed_size_list"))

    def _measure(self, values: pa.Array, trimmed: pa.Array, keys: np.ndarray, counts: np.ndarray) -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        self.values.add(keys, counts, values)
        lengths = pc.utf8_length(trimmed).to_numpy(zero_copy_only=False)
        if not self.is_list():
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
        if self.is_list():
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


def _hash(values: pa.Array) -> np.ndarray:
    from pandas.util import hash_array

    hashed: np.ndarray = hash_array(values.to_numpy(zero_copy_only=False), categorize=False)
    return hashed


def _distinct(values: np.ndarray, counts: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    unique, place = np.unique(values, return_inverse=True)
    sums = np.bincount(place, counts, unique.size)
    return unique.astype(np.float64), sums.astype(np.int64)
