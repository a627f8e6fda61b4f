"""What is in the data, before and after each step: per column valid, mismatched and missing values, and histograms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import (
    DOCUMENTS,
    REJECTED,
    REPORT,
    SPLITS,
    Progress,
    Summary,
    no_progress,
    read_table,
    write_json,
)
from llm_assets.data.profile_page import profile_page

if TYPE_CHECKING:
    import pyarrow as pa

STEPS = ("raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents")
LENGTH_EDGES = (0, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_240)
WEIGHT_EDGES = (0.0, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
OPTIONAL = {"label", "summary", "body", "split", "weight", "fetched_at"}  # may be missing without anything being wrong


def profile_documents(inputs: Mapping[str, Path], out: Path, progress: Progress = no_progress) -> Summary:
    """Write `report.json` and `report.html`. `inputs`: asset -> its folder, for the four of STEPS."""
    report: dict[str, Any] = {"steps": {}}
    tables = {}
    for done, step in enumerate(STEPS):
        progress(done, len(STEPS), step)
        tables[step] = table = read_table(inputs[step] / DOCUMENTS)
        report["steps"][step] = {
            "rows": table.num_rows,
            "columns": {name: profile_column(table, name) for name in table.schema.names},
            "changes": dict(sorted(Counter(s for steps in table["steps"].to_pylist() for s in steps or []).items())),
        }
    rejected = read_table(inputs["cleaned_documents"] / REJECTED, ["reason", "id"])
    report["rejected"] = dict(Counter(rejected["reason"].to_pylist()).most_common())
    report["checks"] = _checks(tables, rejected)
    write_json(report, out / REPORT)
    (out / "report.html").write_text(profile_page(report), encoding="utf-8")
    progress(len(STEPS), len(STEPS), "")
    return _summary(report)


def profile_column(table: pa.Table, name: str) -> dict[str, Any]:
    """{valid, mismatched, missing: counts, histogram: [[bin, count], ...], distinct, examples of mismatches}."""
    values = table[name].to_pylist()
    check = CHECKS.get(name, lambda value: isinstance(value, str) and bool(value.strip()))
    present = [value for value in values if value is not None and value != ""]
    wrong = [value for value in present if not check(value)]
    hashable = [tuple(value) if isinstance(value, list) else value for value in present]
    return {
        "valid": len(present) - len(wrong),
        "mismatched": len(wrong),
        "missing": len(values) - len(present),
        "optional": name in OPTIONAL,
        "distinct": len(set(hashable)),
        "examples": [str(value)[:80] for value in wrong[:3]],
        "histogram": _histogram(name, present),
    }


CHECKS: dict[str, Callable[[Any], bool]] = {
    "id": lambda value: 1 <= len(value) <= 200,
    "text": lambda value: bool(value.strip()) and "\x00" not in value,
    "split": lambda value: value in SPLITS,
    "weight": lambda value: 0 < value < 1000,
    "uri": lambda value: ":" in value,
    "content_hash": lambda value: len(value) == 16 and not value.strip("0123456789abcdef"),
    "parents": lambda value: all(isinstance(parent, str) and parent for parent in value),
    "steps": lambda value: all(isinstance(step, str) and step for step in value),
    "fetched_at": lambda value: value.year >= 1900,
}


def _histogram(name: str, values: list[Any]) -> list[list[Any]]:
    """Lengths for texts, bins for weights, the most frequent for the rest; nothing for columns of unique values."""
    import numpy as np

    if name in ("text", "summary", "body") and values:
        return _binned(np.array([len(value) for value in values]), LENGTH_EDGES)
    if name == "weight" and values:
        return _binned(np.array(values), WEIGHT_EDGES)
    if name in ("label", "split", "source", "licence"):
        return [[key, n] for key, n in sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))[:20]]
    if name in ("steps", "parents"):
        counts = Counter(len(value) for value in values)
        return [[str(key), n] for key, n in sorted(counts.items())]
    return []


def _binned(values: Any, edges: tuple[float, ...]) -> list[list[Any]]:
    import numpy as np

    counts = np.bincount(np.searchsorted(edges, values, side="right") - 1, minlength=len(edges))
    names = [f"{low:g}-{high:g}" for low, high in pairwise(edges)] + [f"{edges[-1]:g}+"]
    return [[name, int(count)] for name, count in zip(names, counts, strict=True)]


def _checks(tables: Mapping[str, pa.Table], rejected: pa.Table) -> dict[str, int]:
    """Counts that must be 0: rows lost, texts in two splits, held-out texts in train, parents that do not exist."""
    raw, cleaned = tables["raw_documents"], tables["cleaned_documents"]
    places: dict[str, set[str]] = {}
    for content, split in zip(cleaned["content_hash"].to_pylist(), cleaned["split"].to_pylist(), strict=True):
        places.setdefault(content, set()).add(split)
    held_out = {content for content, splits in places.items() if splits != {"train"}}
    known = set(cleaned["id"].to_pylist()) | set(tables["augmented_documents"]["id"].to_pylist())
    balanced = tables["balanced_documents"]
    ids = set(cleaned["id"].to_pylist()) | set(rejected["id"].to_pylist())
    return {
        "lost_rows": raw.num_rows - cleaned.num_rows - rejected.num_rows + len(ids ^ set(raw["id"].to_pylist())),
        "split_overlap": sum(len(splits) > 1 for splits in places.values()),
        "held_out_in_train": sum(content in held_out for content in balanced["content_hash"].to_pylist()),
        "orphans": sum(parent not in known for parents in balanced["parents"].to_pylist() for parent in parents or []),
    }


def _summary(report: dict[str, Any]) -> Summary:
    steps = report["steps"]
    columns = [column for step in steps.values() for column in step["columns"].values()]
    cells = sum(column["valid"] + column["mismatched"] + column["missing"] for column in columns)
    cleaned = steps["cleaned_documents"]["columns"]
    raw_rows = steps["raw_documents"]["rows"]
    bars = {
        "Rows after each step": {step: value["rows"] for step, value in steps.items()},
        "Rejected, by reason": report["rejected"],
        **{
            f"Length of text, {step}": dict(value["columns"]["text"]["histogram"])
            for step, value in steps.items()
            if step in ("raw_documents", "cleaned_documents")
        },
        "Labels, cleaned_documents": dict(cleaned["label"]["histogram"]),
    }
    samples = [
        {
            "column": name,
            "valid": _share(column, "valid"),
            "mismatched": _share(column, "mismatched"),
            "missing": _share(column, "missing"),
            "distinct": f"{column['distinct']:,}",
        }
        for name, column in list(cleaned.items())[:12]
    ]
    return Summary(
        metrics={
            "tables": len(steps),
            "labels": cleaned["label"]["distinct"],
            "mismatched_share": sum(column["mismatched"] for column in columns) / max(cells, 1),
            "rejected_share": sum(report["rejected"].values()) / max(raw_rows, 1),
            **report["checks"],
        },
        bars=bars,
        samples=samples,
        note="The table is the quality of each column of `cleaned_documents`; `report.html` shows every step.",
    )


def _share(column: dict[str, Any], kind: str) -> str:
    total = column["valid"] + column["mismatched"] + column["missing"]
    return f"{column[kind] / max(total, 1):.1%}"
