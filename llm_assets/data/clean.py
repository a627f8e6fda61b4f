"""Raw documents to clean ones: repair, rules, duplicates, masks and splits. What goes is kept too, with its reason."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import (
    DOCUMENTS,
    REJECTED,
    Progress,
    Summary,
    no_progress,
    read_table,
    rejected_schema,
    write_table,
)
from llm_assets.data.acquire import PROJECT
from llm_assets.data.config import CleanConfig
from llm_assets.data.dedup import find_duplicates
from llm_assets.data.feedback import FEEDBACK
from llm_assets.data.labels import merge_labels, merges_shown
from llm_assets.data.language import language_problem
from llm_assets.data.markup import plain_prose, repair_text, tidy_space
from llm_assets.data.masking import mask_label
from llm_assets.data.openrefine.documents import history_state, replay_on_documents
from llm_assets.data.rows import documents_table, text_hash
from llm_assets.data.sentences import split_summary
from llm_assets.data.split import split_of
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]


def clean_text(text: str, label: str, config: CleanConfig) -> tuple[str, list[str]]:
    """(clean text, names of the steps that changed it): what a text goes through alone, whatever is beside it."""
    steps = []
    repaired = repair_text(text)
    if repaired != text:
        steps.append("repair")
    prose = plain_prose(repaired) if config.markup else repaired
    if prose != repaired:
        steps.append("markup")
    prose = tidy_space(prose)
    if config.mask_labels and label:
        masked = mask_label(prose, label)
        if masked != prose:
            steps.append("mask")
            prose = "\n".join(filter(None, (" ".join(line.split()) for line in masked.split("\n"))))
    return prose, steps


def clean_table(
    raw: pa.Table, config: CleanConfig, seed: int = 0, progress: Progress = no_progress
) -> tuple[pa.Table, pa.Table]:
    """(documents, rejected): together exactly the rows of `raw`, of which each is in one."""
    import pyarrow as pa

    prepared, removed = prepare_table(raw, config)
    kept, rejected = _apply_rules(prepared, config, progress)
    kept, repeated = _drop_duplicates(kept, config, seed, progress)
    rejected += removed + repeated
    if len(kept) + len(rejected) != raw.num_rows:
        raise RuntimeError(f"cleaning lost rows: {raw.num_rows} in, {len(kept)} kept, {len(rejected)} rejected")
    for row in kept:
        row["split"] = row["split"] or split_of(row["id"], config.split)
        row["summary"], row["body"] = split_summary(row["text"])
        row["content_hash"] = text_hash(row["text"])
        row["weight"] = 1.0
    schema = rejected_schema()
    columns = {field.name: pa.array([row.get(field.name) for row in rejected], type=field.type) for field in schema}
    progress(100, 100, f"{len(kept):,} kept, {len(rejected):,} rejected")
    return documents_table(kept), pa.table(columns, schema=schema)


def prepare_table(raw: pa.Table, config: CleanConfig) -> tuple[pa.Table, list[Row]]:
    """(documents, rejected) of the steps that work on columns: an OpenRefine history, and spellings of labels."""
    removed: list[Row] = []
    if config.openrefine:
        raw, removed = replay_on_documents(raw, PROJECT / config.openrefine)
    return merge_labels(raw, config.labels)[0], removed


def clean_state(config: CleanConfig) -> str:
    """What changes when a file that cleaning reads does."""
    return history_state(PROJECT / config.openrefine) if config.openrefine else ""


def clean_documents(
    raw: Path, out: Path, config: CleanConfig, seed: int = 0, progress: Progress = no_progress
) -> Summary:
    """Write `documents.parquet` and `rejected.parquet` from the folder of `raw_documents`."""
    table = read_table(raw / DOCUMENTS)
    started = time.perf_counter()
    kept, rejected = clean_table(table, config, seed, progress)
    seconds = time.perf_counter() - started
    if not kept.num_rows:
        reasons = ", ".join(f"{name} {n}" for name, n in Counter(rejected["reason"].to_pylist()).most_common())
        raise UserError(f"cleaning rejected all {table.num_rows} documents ({reasons}); relax data.clean")
    write_table(kept, out / DOCUMENTS)
    write_table(rejected, out / REJECTED)
    return _summary(table, kept, rejected, seconds)


def _apply_rules(raw: pa.Table, config: CleanConfig, progress: Progress) -> tuple[list[Row], list[Row]]:
    """Rules that look at one row; batch by batch, so that only one batch of raw text is in Python at a time."""
    kept: list[Row] = []
    rejected: list[Row] = []
    done = 0
    for batch in raw.to_batches(max_chunksize=1000):
        for row in batch.to_pylist():
            original = row["text"] or ""
            text, steps = clean_text(original, row["label"] or "", config)
            problem = _problem(text, original, config)
            if problem:
                rejected.append({**row, "reason": problem[0], "detail": problem[1]})
            else:
                kept.append({**row, "text": text, "steps": [*(row["steps"] or []), *steps], "raw": original})
        done += batch.num_rows
        progress(70 * done / max(raw.num_rows, 1), 100, f"{done:,} of {raw.num_rows:,} documents")
    return kept, rejected


def _problem(text: str, original: str, config: CleanConfig) -> tuple[str, str] | None:
    if not original.strip():
        return "empty", "no text"
    if len(text) < config.min_chars:
        return "too_short", f"{len(text)} characters after repair, {config.min_chars} needed"
    if len(text) > config.max_chars:
        return "too_long", f"{len(text)} characters after repair, {config.max_chars} allowed"
    if config.language.enabled:
        found = language_problem(text, config.language)
        if found:
            return "language", found
    return None


def _drop_duplicates(
    rows: list[Row], config: CleanConfig, seed: int, progress: Progress
) -> tuple[list[Row], list[Row]]:
    """One row of each group stays. A repeat that came from feedback gives its label to the row that stays."""
    # Rows that name their split (a test file) stand before those that do not, and held-out ones before train: where a
    # text is in both, the held-out one stays, and no test row is ever lost to training.
    first = {"test": 0, "canary": 0, "validation": 0, None: 1, "train": 2}
    rows = sorted(rows, key=lambda row: first.get(row["split"], 1))

    def report(done: float, total: float, note: str = "") -> None:
        progress(70 + 28 * done / total, 100, note)

    duplicates = find_duplicates([row["text"] for row in rows], config.near_duplicates, seed, report)
    rejected, gone = [], set()
    for item in duplicates:
        row, other = rows[item.row], rows[item.of]
        detail = f"{item.similarity:.2f} like {other['id']}"
        if row["source"] == FEEDBACK and row["label"] and row["label"] != other["label"]:
            other["label"] = row["label"]
            other["steps"] = [*other["steps"], "corrected"]
            detail += "; its label was taken over"
        gone.add(item.row)
        rejected.append({**row, "text": row["raw"], "steps": row["steps"], "reason": item.reason, "detail": detail})
    return [row for number, row in enumerate(rows) if number not in gone], rejected


def _summary(raw: pa.Table, kept: pa.Table, rejected: pa.Table, seconds: float) -> Summary:
    splits, labels = Counter(kept["split"].to_pylist()), Counter(kept["label"].to_pylist())
    reasons = Counter(rejected["reason"].to_pylist())
    before = dict(zip(raw["id"].to_pylist(), raw["text"].to_pylist(), strict=True))
    changed = [row for row in kept.select(["id", "text", "steps"]).slice(0, 4000).to_pylist() if row["steps"]]
    step = max(1, len(changed) // 4)
    samples = [
        {
            "what": ", ".join(row["steps"]),
            "before": (before[row["id"]] or "")[:240],
            "after": row["text"][:240],
        }
        for row in changed[::step][:4]
    ]
    for reason in sorted(reasons):
        row = next(row for row in rejected.select(["text", "reason", "detail"]).to_pylist() if row["reason"] == reason)
        samples.append(
            {"what": f"rejected: {reason}", "before": (row["text"] or "")[:240], "after": row["detail"] or ""}
        )
    return Summary(
        metrics={
            "rows": kept.num_rows,
            "rows_in": raw.num_rows,
            "rejected": rejected.num_rows,
            "rejected_share": rejected.num_rows / max(raw.num_rows, 1),
            "lost_rows": raw.num_rows - kept.num_rows - rejected.num_rows,
            "labels": len([label for label in labels if label]),
            "split_overlap": split_overlap(kept),
            "with_summary": kept.num_rows - kept["summary"].null_count,
            "documents_per_second": round(raw.num_rows / max(seconds, 1e-9), 1),
            **{f"{split}_rows": splits.get(split, 0) for split in ("train", "validation", "test", "canary")},
        },
        bars={
            "Rows per split": dict(splits.most_common()),
            "Rows per label": {str(label or "(none)"): n for label, n in labels.most_common(30)},
            "Rejected, by reason": dict(reasons.most_common()),
            "Labels merged": merges_shown(raw, kept),
        },
        samples=samples[:12],
        note=f"Of {raw.num_rows:,} documents {kept.num_rows:,} stay. Look at what was rejected as a near duplicate: "
        "it is what would have leaked between splits.",
    )


def split_overlap(documents: pa.Table) -> int:
    """Texts that are in more than one split (by their hash); anything but 0 is a leak."""
    places: dict[str, set[str]] = {}
    for content, split in zip(documents["content_hash"].to_pylist(), documents["split"].to_pylist(), strict=True):
        places.setdefault(content, set()).add(split)
    return sum(len(found) > 1 for found in places.values())
