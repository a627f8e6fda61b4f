"""What a person sees of a cleaning: counts and seconds by step, samples before and after, reasons of rejection."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import SPLITS, Summary
from llm_assets.data.labels import bounded
from llm_assets.data.steps import Report

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 30


@dataclass
class Totals:
    """Counts over the documents that stay, beside the reports of the steps."""

    rows_in: int
    reports: dict[str, Report]
    rows: int = 0
    with_summary: int = 0
    label_errors: int = 0
    label_samples: list[dict[str, str]] = field(default_factory=list)
    label_merges: dict[str, float] = field(default_factory=dict)  # "old → new" to rows
    splits: Counter[str] = field(default_factory=Counter)
    labels: Counter[str | None] = field(default_factory=Counter)
    places: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)

    def see(self, kept: pa.RecordBatch) -> None:
        """Count a batch of documents that stay."""
        self.rows += kept.num_rows
        self.with_summary += kept.num_rows - kept["summary"].null_count
        self.splits.update(kept["split"].to_pylist())
        self.labels.update(kept["label"].to_pylist())
        bounded(self.labels, "cleaned documents")
        self.places.append(_places(kept))

    def reasons(self) -> Counter[str]:
        return sum((report.reasons for report in self.reports.values()), Counter())

    def lost_rows(self) -> int:
        """Rows that came into a step, or into the whole, and neither stayed nor were rejected."""
        inside = sum(abs(r.rows_in - r.kept - r.rejected) for r in self.reports.values())
        rejected = sum(report.rejected for report in self.reports.values())
        return inside + abs(self.rows_in - self.rows - rejected)


def split_overlap(documents: pa.Table) -> int:
    """Texts that are in more than one split (by their hash); anything but 0 is a leak."""
    return _overlap([_places(batch) for batch in documents.to_batches()])


def _places(batch: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    """(hash of each text uint64, place of its split in SPLITS uint8)."""
    hashes = np.frombuffer(bytes.fromhex("".join(batch["content_hash"].to_pylist())), dtype=">u8").astype(np.uint64)
    codes = {name: code for code, name in enumerate(SPLITS)}
    return hashes, np.array([codes.get(name, len(SPLITS)) for name in batch["split"].to_pylist()], dtype=np.uint8)


def _overlap(places: list[tuple[np.ndarray, np.ndarray]]) -> int:
    if not places:
        return 0
    hashes, splits = (np.concatenate(parts) for parts in zip(*places, strict=True))
    order = np.lexsort((splits, hashes))
    hashes, splits = hashes[order], splits[order]
    return len(np.unique(hashes[1:][(hashes[1:] == hashes[:-1]) & (splits[1:] != splits[:-1])]))


def clean_summary(totals: Totals, seconds: float) -> Summary:
    """The summary of `cleaned_documents`. Seconds of a step are its own work, of all processes together."""
    reports, reasons = totals.reports, totals.reasons()
    rejected = totals.rows_in - totals.rows
    by_step = {
        f"{name}_{what}": value
        for name, report in reports.items()
        for what, value in (
            ("in", report.rows_in),
            ("kept", report.kept),
            ("rejected", report.rejected),
            ("changed", report.changed),
            ("seconds", round(report.seconds, 2)),
        )
    }
    return Summary(
        metrics={
            "rows": totals.rows,
            "rows_in": totals.rows_in,
            "rejected": rejected,
            "rejected_share": rejected / max(totals.rows_in, 1),
            "lost_rows": totals.lost_rows(),
            "labels": len([label for label in totals.labels if label]),
            "split_overlap": _overlap(totals.places),
            "with_summary": totals.with_summary,
            "label_errors_found": totals.label_errors,
            "documents_per_second": round(totals.rows_in / max(seconds, 1e-9), 1),
            **{f"{split}_rows": totals.splits.get(split, 0) for split in SPLITS},
            **by_step,
        },
        bars={
            "Rows per split": dict(totals.splits.most_common()),
            "Rows per label": {str(label or "(none)"): count for label, count in totals.labels.most_common(30)},
            "Rejected, by reason": dict(reasons.most_common()),
            "Labels merged": totals.label_merges,
            "Rows changed, by step": {name: report.changed for name, report in reports.items() if report.changed},
            "Seconds, by step": {name: round(report.seconds, 3) for name, report in reports.items()},
        },
        samples=_samples(totals),
        note=f"Of {totals.rows_in:,} documents {totals.rows:,} stay. Look at what was rejected as a near duplicate: "
        "it is what would have leaked between splits.",
    )


def _samples(totals: Totals) -> list[dict[str, str]]:
    """One change and one reject of each step, labels that are probably wrong, then a reject of each other reason."""
    changes = [
        {"what": name, "before": report.change[0], "after": report.change[1]}
        for name, report in totals.reports.items()
        if report.change
    ]
    first: list[dict[str, str]] = []
    others: list[dict[str, str]] = []
    for report in totals.reports.values():
        for place, (reason, _) in enumerate(report.reasons.most_common()):
            text, detail = report.rejects[reason]
            (others if place else first).append({"what": f"rejected: {reason}", "before": text, "after": detail})
    return [*changes, *first, *totals.label_samples, *others][:SAMPLES]
