"""What is in the data, before and after each step: the profile of every table, suggested rules, and the data card."""

from __future__ import annotations

from collections.abc import Mapping
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
from llm_assets.data.config import DataConfig
from llm_assets.data.data_card import card_markdown, measure_card
from llm_assets.data.profile_columns import Declared
from llm_assets.data.profile_page import profile_page, totals
from llm_assets.data.profile_suggest import one_line, suggestions
from llm_assets.data.profile_table import parquet_batches, profile_table
from llm_assets.data.profile_texts import BETWEEN, MARKS
from llm_assets.data.provenance import STAGES, broken_steps

if TYPE_CHECKING:
    import pyarrow as pa

PAGE, CARD = "report.html", "data_card.md"
WORK = ("acquisition", "cleaning", "augmentation", "balancing")  # of STAGES
_ITEM = rf"[^\x01{BETWEEN}]+"
_ITEMS = rf"^({MARKS['no elements']}|{_ITEM}({BETWEEN}{_ITEM})*)$"  # no element empty or null
SCHEMA = {
    "id": Declared("identifier", r"(?s)^.{1,200}$"),
    "text": Declared("text", r"^[^\x00]*$"),
    "label": Declared("category", optional=True),
    "summary": Declared("text", optional=True),
    "body": Declared("text", optional=True),
    "split": Declared("category", f"^({'|'.join(SPLITS)})$", optional=True),
    "weight": Declared("decimal", above=0, below=1000, optional=True),
    "source": Declared("category"),
    "uri": Declared("identifier", ":"),
    "licence": Declared("category"),
    "content_hash": Declared("identifier", "^[0-9a-f]{16}$"),
    "parents": Declared("list", _ITEMS),
    "steps": Declared("list", _ITEMS),
    "fetched_at": Declared("date and time", r"^(19|20)\d\d-", optional=True),
}


def profile_documents(
    inputs: Mapping[str, Path],
    out: Path,
    progress: Progress = no_progress,
    data: DataConfig | None = None,
    name: str = "documents",
) -> Summary:
    """Write `report.json`, `report.html` and `data_card.md`.

    inputs: asset -> its folder, for the four of STAGES; data: the recipe's section, which suggestions start from;
    name: what the card calls the data.
    """
    steps: dict[str, Any] = {}
    for done, stage in enumerate(STAGES):
        path = inputs[stage] / DOCUMENTS
        steps[stage] = profile_table(parquet_batches(path), SCHEMA, _part_of(progress, done, stage), _rows(path))
        steps[stage]["changes"] = _changes(path)
    progress(len(STAGES), len(STAGES) + 1, "data card")
    rejected = read_table(inputs["cleaned_documents"] / REJECTED, ["reason", "id"])
    gone = {what: _reasons(inputs[stage] / REJECTED) for what, stage in zip(WORK, STAGES, strict=True)}
    card = measure_card(inputs, steps, gone, data.card.intended_use if data else "")
    report = {
        "steps": steps,
        "rejected": gone["cleaning"],
        "checks": _checks(inputs, rejected),
        "suggestions": suggestions(steps["cleaned_documents"], data, documents=True),
        "card": card,
    }
    write_json(report, out / REPORT)
    (out / PAGE).write_text(profile_page(report), encoding="utf-8")
    (out / CARD).write_text(card_markdown(card, name), encoding="utf-8")
    progress(1, 1, "")
    return _summary(report)


def _part_of(progress: Progress, number: int, stage: str) -> Progress:
    """The progress of one table as that of the whole."""

    def report(done: float, total: float, note: str = "") -> None:
        progress(number + done / max(total, 1), len(STAGES) + 1, f"{stage}: {note}")

    return report


def _rows(path: Path) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(path).num_rows)


def _changes(path: Path) -> dict[str, int]:
    """Step -> rows that went through it."""
    import pyarrow.compute as pc

    return _value_counts(pc.list_flatten(read_table(path, ["steps"])["steps"]))


def _reasons(path: Path) -> dict[str, int]:
    """Reason -> rows; none where a stage rejects nothing."""
    return _value_counts(read_table(path, ["reason"])["reason"]) if path.is_file() else {}


def _value_counts(column: Any) -> dict[str, int]:
    import pyarrow.compute as pc

    pairs = [(str(item["values"]), item["counts"]) for item in pc.value_counts(column).to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _checks(inputs: Mapping[str, Path], rejected: pa.Table) -> dict[str, int]:
    """Counts that must be 0: rows lost, texts in two splits, held-out texts in train, parents or steps not told."""
    import pyarrow as pa
    import pyarrow.compute as pc

    raw = read_table(inputs["raw_documents"] / DOCUMENTS, ["id"])
    cleaned = read_table(inputs["cleaned_documents"] / DOCUMENTS, ["id", "split", "content_hash"])
    augmented = read_table(inputs["augmented_documents"] / DOCUMENTS, ["id"])
    balanced = read_table(inputs["balanced_documents"] / DOCUMENTS, ["content_hash", "parents"])
    places = cleaned.group_by("content_hash").aggregate([("split", "count_distinct")])
    held_out = cleaned.filter(pc.fill_null(pc.not_equal(cleaned["split"], "train"), True))["content_hash"]
    known = pa.chunked_array([*cleaned["id"].chunks, *augmented["id"].chunks], pa.string())
    ended = pa.chunked_array([*cleaned["id"].chunks, *rejected["id"].chunks], pa.string())
    parents = pc.list_flatten(balanced["parents"])
    return {
        "lost_rows": raw.num_rows
        - len(ended)
        + _absent(raw["id"], ended)
        + _absent(ended, raw["id"]),
        "split_overlap": int(pc.sum(pc.greater(places["split_count_distinct"], 1)).as_py() or 0),
        "held_out_in_train": len(balanced) - _absent(balanced["content_hash"], held_out),
        "orphans": _absent(parents, known),
        "broken_steps": sum(broken_steps(inputs).values()),
    }  # fmt: skip


def _absent(values: Any, known: Any) -> int:
    import pyarrow.compute as pc

    return len(values) - int(pc.sum(pc.is_in(values, known.combine_chunks())).as_py() or 0)


def _summary(report: dict[str, Any]) -> Summary:
    steps = report["steps"]
    cells = {step: totals(found["columns"]) for step, found in steps.items()}
    every = sum(sum(cell.values()) for cell in cells.values())
    cleaned = steps["cleaned_documents"]["columns"]
    rejected = sum(report["rejected"].values())
    return Summary(
        metrics={
            "tables": len(steps),
            "labels": cleaned["label"]["distinct"],
            "mismatched_share": sum(cell["mismatched"] for cell in cells.values()) / max(every, 1),
            "rejected_share": rejected / max(steps["raw_documents"]["rows"], 1),
            "suggestions": sum(bool(item["recipe"]) for item in report["suggestions"]),
            **report["checks"],
        },
        shares={
            f"Quality, {step}": {
                name: {kind: column[kind] for kind in ("valid", "mismatched", "missing")}
                for name, column in found["columns"].items()
            }
            for step, found in steps.items()
            if step in ("raw_documents", "cleaned_documents")
        },
        bars={
            "Rows after each step": {step: value["rows"] for step, value in steps.items()},
            "Rejected, by reason": report["rejected"],
            **{
                f"Length of text, {step}": dict(value["columns"]["text"]["histogram"])
                for step, value in steps.items()
                if step in ("raw_documents", "cleaned_documents")
            },
            "Labels, cleaned_documents": dict(cleaned["label"]["histogram"]),
        },
        tables={
            "Suggested for the recipe": [
                {
                    "rows": f"{item['rows']:,}",
                    "what": item["title"],
                    "why": item["why"],
                    "recipe": one_line(item["recipe"]),
                }
                for item in report["suggestions"]
                if item["recipe"]
            ],
            "Patterns, cleaned_documents": [
                {"column": name, "pattern": mark, "rows": f"{count:,}"}
                for name, column in cleaned.items()
                for mark, count, _ in column["patterns"][:2]
            ],
            "Known biases, as measured": [
                dict(zip(shown["head"], map(str, row), strict=True))
                for section in report["card"][-1:]
                for shown in section["tables"]
                for row in shown["rows"]
            ],
        },
        note="`report.html` in this version's folder holds every column before and after each step, `data_card.md` "
        "what the data is, where it is from and which biases were measured.",
    )
