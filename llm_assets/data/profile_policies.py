"""Standard forms that a profile suggests for the columns of a table: `data.table.standardise` of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from llm_assets.data.labels import label_merges
from llm_assets.data.table_config import ColumnPolicy, LabelsConfig

Merge = Literal["fingerprint", "levenshtein"]
MOST_LABELS = 500  # of a column whose merges are tried out
FEW_MISSING = 0.05  # up to this share of a column, filling in its usual value changes little
USUAL = 0.5  # share of the rows with the most frequent value from which it is the usual one


def merging(counts: Sequence[tuple[str, int]], spellings: Sequence[Mapping[str, Any]]) -> Merge | None:
    """The mildest setting that merges some of `spellings` (see `near_spellings`) and nothing else, if there is one."""
    wanted = {label: item["keep"] for item in spellings for label, _ in item["merge"]}
    if not wanted or len(counts) > MOST_LABELS:
        return None
    options: tuple[Merge, ...] = ("levenshtein", "fingerprint")
    for option in options:
        merges = label_merges(dict(counts), LabelsConfig(merge=option))
        if merges and all(wanted.get(label) == found.label for found in merges for label in found.spellings):
            return option
    return None


def column_policies(columns: Mapping[str, Mapping[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """(policy of a column as the recipe has it, values that it changes), for each column that gains by one."""
    found = [_policy(name, column) for name, column in columns.items()]
    return [(policy, changes) for policy, changes in found if changes]


def _policy(name: str, column: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    kind = column["type"]
    merged = sum(count for item in column["spellings"] for _, count in item["merge"]) if column["merging"] else 0
    absent = sum(count for _, count in column["placeholders"])
    policy: dict[str, Any] = {"column": name, "kind": "text"}
    changes = column["spaces"] + absent
    if merged:
        policy |= {"kind": "label", "labels": {"merge": column["merging"]}}
        changes += merged
    elif kind in ("integer", "decimal", "percentage"):
        policy["kind"] = "number"
    elif kind == "date" and (column["pattern_count"] > 1 or changes):
        policy["kind"] = "date"
        changes += column["rows"] - column["missing"] - column["patterns"][0][1]
    if policy["kind"] in ("number", "date") and column["mismatched"]:
        policy["unreadable"] = "blank"
        changes += max(column["mismatched"] - absent, 0)
    known = {text for text in ColumnPolicy.model_fields["missing_texts"].default if text}
    words = {text.strip().lower() for text, _ in column["placeholders"]} - known
    if words:
        policy["missing_texts"] = ["", *sorted(known | words)]
    filling = _filling(column, absent)
    if filling and policy["kind"] != "text":
        policy["missing"] = filling
        changes += column["missing"]
    return policy, changes


def _filling(column: Mapping[str, Any], absent: int) -> str | None:
    """How the few missing values of a column can be filled, where one value is usual."""
    missing = column["missing"] + absent
    if not 0 < missing <= FEW_MISSING * column["rows"]:
        return None
    if column["type"] in ("integer", "decimal", "percentage"):
        return "median"
    return "mode" if column["top"] and column["top"][0][1] >= USUAL * column["rows"] else None
