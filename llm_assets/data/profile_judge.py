"""What the counts of a column say: its type, what does not fit it, histogram, patterns, spellings."""

from __future__ import annotations

from typing import Any

from llm_assets.data.profile_columns import ColumnCounts
from llm_assets.data.profile_counts import Counted
from llm_assets.data.profile_histograms import frequent_bars, histogram, outliers, spread
from llm_assets.data.profile_labels import near_spellings
from llm_assets.data.profile_patterns import pattern_of
from llm_assets.data.profile_policies import merging
from llm_assets.data.profile_texts import shown
from llm_assets.data.profile_types import NUMERIC, Kind, choose_kind

PLACEHOLDERS = {
    "na", "n/a", "n.a.", "nan", "null", "none", "nil", "-", "--", "?", "unknown", "empty", "missing", "tbd", "#n/a",
    "(null)", "<na>", "undefined", "not available", "9999-12-31", "1900-01-01",
}  # fmt: skip


def column_profile(column: ColumnCounts) -> dict[str, Any]:
    """The profile of a column that was counted to its end, as plain data; `profile_table` says what is in it."""
    present = column.rows - column.missing
    counted, shapes = column.values.finish(), column.patterns.finish()
    for numbers in (column.numbers, column.lengths, column.years):
        numbers.merge()
    kind = _kind(column, counted, present)
    mismatched, unlike = _mismatched(column, kind, present)
    known = dict(counted.frequent)
    plain = shown if column.is_list() else str
    patterns = [[pattern_of(text), count, text] for text, count in shapes.frequent[:10]]
    bars, meaning = _histogram(column, kind, counted, present, patterns)
    numeric = kind.name in NUMERIC and column.numbers.values.size > 0
    measured, of = (column.numbers, "values") if numeric else (column.lengths, "lengths")
    ordered = numeric or kind.name in ("text", "url", "e-mail", "identifier", "list", "object", "phone")
    spellings = near_spellings(counted.frequent) if kind.name == "category" and counted.complete else []
    return {
        "type": kind.name,
        "evidence": round(kind.share, 6),
        "because": kind.because,
        "stored_as": column.arrow_type,
        "rows": column.rows,
        "valid": present - mismatched,
        "mismatched": mismatched,
        "missing": column.missing,
        "optional": bool(column.declared and column.declared.optional),
        "distinct": counted.distinct,
        "once": counted.once,
        "rarest": counted.frequent[-1][1] if counted.complete and counted.frequent else None,
        "top": [[plain(text), count] for text, count in counted.frequent[:12] if count > 1 or kind.name == "category"],
        "examples": sorted(([plain(text), known.get(text)] for text in unlike), key=lambda pair: -(pair[1] or 0)),
        "histogram": bars,
        "histogram_of": meaning,
        "numbers": spread(column.numbers) if numeric else None,
        "lengths": spread(column.lengths) if column.lengths.values.size else None,
        "outliers": outliers(measured, of) if ordered else None,
        "patterns": patterns,
        "pattern_count": shapes.distinct,
        "spellings": spellings,
        "merging": merging(counted.frequent, spellings),
        "spaces": column.spaces,
        "unclean": column.unclean,
        "prose": round((column.long + column.wordy) / max(present, 1), 6),
        "holding": column.holding if kind.name == "text" else {},
        "placeholders": [[text, count] for text, count in counted.frequent if _placeholder(text)][:5],
    }


def _histogram(
    column: ColumnCounts, kind: Kind, counted: Counted, present: int, patterns: list[list[Any]]
) -> tuple[list[list[Any]], str]:
    """(bars, what they are of)."""
    if not present:
        return [], "values"
    if kind.name in ("identifier", "phone", "uuid", "ip", "time") and patterns:
        return [[mark, count] for mark, count, _ in patterns], "patterns"
    if kind.name in NUMERIC and column.numbers.values.size:
        return histogram(column.numbers), "values, in ranges"
    if kind.name in ("date", "date and time") and column.years.values.size:
        return histogram(column.years, grouped=False), "years"
    if kind.name in ("category", "boolean") or not column.lengths.values.size:
        return frequent_bars(counted, present), "values"
    return histogram(column.lengths), "elements a list" if column.is_list() else "characters"


def _kind(column: ColumnCounts, counted: Counted, present: int) -> Kind:
    if column.declared:
        return Kind(column.declared.kind, 1 - column.refused / max(present, 1), "declared by the document schema")
    if column.is_list():
        return Kind("list", 1.0, f"stored as {column.arrow_type}")
    return choose_kind(column.name, column.matches, present, counted.distinct, counted.once, column.long, column.wordy)


def _mismatched(column: ColumnCounts, kind: Kind, present: int) -> tuple[int, list[str]]:
    if column.declared:
        return column.refused, list(column.unlike["declared"].values())
    if not kind.forms:
        return column.unclean, list(column.unlike["clean"].values())
    if len(kind.forms) > 1:  # a value has one of them at most
        examples = set.intersection(*(set(column.unlike[form].values()) for form in kind.forms))
        return present - sum(column.matches[form] for form in kind.forms), sorted(examples)
    return present - column.matches[kind.forms[0]], list(column.unlike[kind.forms[0]].values())


def _placeholder(text: str) -> bool:
    return text.strip().lower() in PLACEHOLDERS
