"""Raw documents from every source of the recipe."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import (
    DOCUMENTS,
    REJECTED,
    Progress,
    Summary,
    document_schema,
    no_progress,
    rejected_schema,
)
from llm_assets.data.erasure import load_erased
from llm_assets.data.labels import bounded
from llm_assets.data.rows import RepeatedIds, TableWriter
from llm_assets.data.sources.config import Source
from llm_assets.data.sources.found import Batch
from llm_assets.data.sources.read import PROJECT, Count, read_source, value_counts
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = 6


def stream_sources(
    sources: Sequence[Source],
    home: Path,
    progress: Progress = no_progress,
    root: Path = PROJECT,
    counts: list[Count] | None = None,
) -> Iterator[Batch]:
    """`read_source` of all of them, in their order, with ids unique over all documents; a count for each.

    What has been erased is left out.
    """
    repeated, erased = RepeatedIds(), load_erased(home)
    rows = 0
    for number, source in enumerate(sources):
        count = Count(f"{number}: {source.kind}")
        if counts is not None:
            counts.append(count)

        def report(done: float, total: float, note: str = "", number: int = number) -> None:
            progress(number + done / max(total, 1), len(sources), note)

        for batch in read_source(source, home, root, report, count):
            rows += batch.documents.num_rows
            yield Batch(erased.rest(repeated.mend(batch.documents)), erased.rest(batch.rejected))
    if not rows:
        raise UserError("data.sources: the sources hold no documents; add one that does")
    progress(len(sources), len(sources), f"{rows:,} documents")


def read_sources(
    sources: Sequence[Source], home: Path, progress: Progress = no_progress, root: Path = PROJECT
) -> pa.Table:
    """All documents of `sources` as one table in memory; `stream_sources` is for more than fits."""
    import pyarrow as pa

    found = [batch.documents for batch in stream_sources(sources, home, progress, root)]
    return pa.Table.from_batches(found, schema=document_schema())


def acquire_documents(
    sources: Sequence[Source], home: Path, out: Path, progress: Progress = no_progress, root: Path = PROJECT
) -> Summary:
    """Write `documents.parquet` of all sources, and `rejected.parquet` of what in them is no document."""
    started, begun = datetime.now(UTC), time.perf_counter()
    counts: list[Count] = []
    labels: Counter[str] = Counter()
    picture = _Picture()
    with (
        TableWriter(out / DOCUMENTS, document_schema()) as documents,
        TableWriter(out / REJECTED, rejected_schema()) as rejected,
    ):
        for batch in stream_sources(sources, home, progress, root, counts):
            documents.write(batch.documents)
            rejected.write(batch.rejected)
            labels.update(value_counts(batch.documents, "label"))
            bounded(labels, "data.sources, label_column")
            picture.look(batch)
    return _summary(counts, labels, picture, started, time.perf_counter() - begun)


class _Picture:
    """Rows to look at, the same in every run: documents with the smallest ids (a hash), one reject of each reason."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.rejects: dict[str, dict[str, Any]] = {}
        self.sources: Counter[str] = Counter()

    def look(self, batch: Batch) -> None:
        import pyarrow.compute as pc

        table = batch.documents.select(["id", "uri", "label", "text", "source"])
        for name, n in value_counts(table, "source").items():
            self.sources[name.partition(":")[0]] += n
        least = pc.select_k_unstable(table, SAMPLES, [("id", "ascending")])
        self.documents = sorted([*self.documents, *table.take(least).to_pylist()], key=lambda row: row["id"])[:SAMPLES]
        for reason in set(value_counts(batch.rejected, "reason")) - set(self.rejects):
            first = pc.index(batch.rejected["reason"], reason).as_py()
            self.rejects[reason] = batch.rejected.slice(first, 1).to_pylist()[0]


def _summary(
    counts: list[Count], labels: Counter[str], picture: _Picture, started: datetime, seconds: float
) -> Summary:
    rows, rejects = sum(count.documents for count in counts), sum(count.rejects for count in counts)
    reasons: Counter[str] = sum((count.rejected for count in counts), Counter())
    return Summary(
        metrics={
            "rows": rows,
            "labels": len(labels.keys() - {"(none)"}),
            "characters": sum(count.characters for count in counts),
            "feedback_rows": picture.sources.get("feedback", 0),
            "found": sum(count.found for count in counts),
            "rejected": rejects,
            "lost_rows": sum(abs(count.found - count.documents - count.rejects) for count in counts),
            "rejected_share": rejects / max(rows + rejects, 1),
            "documents_per_second": round(rows / max(seconds, 1e-9), 1),
            "acquired_at": started.isoformat(timespec="seconds"),
            **_tidy_metrics(counts),
        },
        bars={
            "Documents per label": dict(labels.most_common(30)),
            "Documents per source": dict(picture.sources),
            "Rejected, by reason": dict(reasons.most_common()),
            "Seconds per source": {count.name: round(count.seconds, 2) for count in counts},
        },
        samples=[
            {"uri": row["uri"], "label": str(row["label"]), "text": (row["text"] or "")[:200]}
            for row in picture.documents
        ]
        + [
            {"uri": row["uri"], "label": f"rejected: {reason}", "text": f"{row['detail']} | {row['text'][:120]}"}
            for reason, row in sorted(picture.rejects.items())[:SAMPLES]
        ]
        + [
            {"uri": f"{count.name}, {step.step}", "label": one["what"], "text": f"{one['before']} → {one['after']}"}
            for count in counts
            for step in count.tidy
            for one in step.samples[:SAMPLES]
        ],
        note="Text as it was found, markup and all. What could not be read is in `rejected.parquet`, with the reason; "
        "what is thrown out for what it says, and why, is in cleaned_documents.",
    )


def _tidy_metrics(counts: list[Count]) -> dict[str, float]:
    """Of each step over tables: rows in and kept, cells changed, seconds; all sources together."""
    found: defaultdict[str, float] = defaultdict(float)
    for step in (step for count in counts for step in count.tidy):
        found[f"tidy_{step.step}_in"] += step.rows_in
        found[f"tidy_{step.step}_kept"] += step.rows_out
        found[f"tidy_{step.step}_changed"] += step.changed
        found[f"tidy_{step.step}_seconds"] += round(step.seconds, 2)
    return dict(found)
