"""Raw documents from every source of the recipe."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
from llm_assets.data.config import DataConfig, Source
from llm_assets.data.rows import RepeatedIds, TableWriter
from llm_assets.data.sources.config import Feedback, Files, HuggingFace, InstalledPackages, Web
from llm_assets.data.sources.found import Batch, Found, batches
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

PROJECT = Path(__file__).resolve().parent.parent.parent
SAMPLES = 6


@dataclass
class Count:
    """What came of one source."""

    name: str
    documents: int = 0
    characters: int = 0
    seconds: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    first_reject: str = ""

    @property
    def rejects(self) -> int:
        return sum(self.rejected.values())


def read_source(
    source: Source,
    home: Path,
    root: Path = PROJECT,
    progress: Progress = no_progress,
    count: Count | None = None,
) -> Iterator[Batch]:
    """The documents and the rejects of one source, as record batches, in its order. A few batches are in memory.

    home: the state folder (feedback, what was fetched before); root: where relative paths start; count: is filled
    on the way. Raises UserError when the source cannot be read, or (at its end) when too much of it was rejected.
    """
    count = count or Count(source.kind)
    limit = source.max_row_bytes if isinstance(source, Files) else None
    licence, split = getattr(source, "licence", "unknown"), getattr(source, "split", None)
    stream = batches(
        _found(source, home, root, progress), source=source.kind, licence=licence, split=split, max_text_bytes=limit
    )
    started = time.perf_counter()
    for batch in stream:
        _add(count, batch)
        if count.first_reject and isinstance(source, Files) and source.on_bad_rows == "fail":
            raise UserError(f"{count.first_reject}; correct or remove it (on_bad_rows is `fail`)")
        count.seconds += time.perf_counter() - started
        yield batch
        started = time.perf_counter()
    count.seconds += time.perf_counter() - started
    _hold_share(source, count)


def stream_sources(
    sources: Sequence[Source],
    home: Path,
    progress: Progress = no_progress,
    root: Path = PROJECT,
    counts: list[Count] | None = None,
) -> Iterator[Batch]:
    """`read_source` of all of them, in their order, with ids unique over all documents; a count for each."""
    repeated = RepeatedIds()
    rows = 0
    for number, source in enumerate(sources):
        count = Count(f"{number}: {source.kind}")
        if counts is not None:
            counts.append(count)

        def report(done: float, total: float, note: str = "", number: int = number) -> None:
            progress(number + done / max(total, 1), len(sources), note)

        for batch in read_source(source, home, root, report, count):
            rows += batch.documents.num_rows
            yield batch._replace(documents=repeated.mend(batch.documents))
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
            labels.update(_values(batch.documents, "label"))
            picture.look(batch)
    return _summary(counts, labels, picture, started, time.perf_counter() - begun)


def sources_state(data: DataConfig, home: Path, root: Path = PROJECT) -> str:
    """What changes when a source does. Cheap: nothing is parsed, and no site is asked.

    Versions of packages; digests of files and local datasets (computed once a size and time of change). Hub, web and
    a database without `key_column` count as changed when `refresh_hours` have gone by, and never without; a database
    with one, when its greatest key is another.
    """
    return ";".join(_state(source, home, root) for source in data.sources)


def _found(source: Source, home: Path, root: Path, progress: Progress) -> Iterator[Found]:
    if isinstance(source, InstalledPackages):
        from llm_assets.data.sources.packages import read_packages

        return read_packages(source, progress)
    if isinstance(source, Feedback):
        from llm_assets.data.sources.feedback import read_feedback

        return read_feedback(source, home)
    if isinstance(source, Files):
        from llm_assets.data.sources.files import read_files

        return read_files(source, root, progress)
    if isinstance(source, HuggingFace):
        from llm_assets.data.sources.huggingface import read_huggingface

        return read_huggingface(source, root, progress)
    if isinstance(source, Web):
        from llm_assets.data.sources.web import read_web

        return read_web(source, home, progress)
    from llm_assets.data.sources.sql import read_sql

    return read_sql(source, home, root, progress)


def _state(source: Source, home: Path, root: Path) -> str:
    if isinstance(source, InstalledPackages):
        from llm_assets.data.sources.packages import packages_state

        return packages_state(source)
    if isinstance(source, Feedback):
        from llm_assets.data.sources.feedback import feedback_state

        return feedback_state(source, home)
    if isinstance(source, Files):
        from llm_assets.data.sources.files import files_state

        return files_state(source, root)
    if isinstance(source, HuggingFace):
        from llm_assets.data.sources.huggingface import huggingface_state

        return huggingface_state(source, root)
    if isinstance(source, Web):
        return refresh_window(source.refresh_hours)
    from llm_assets.data.sources.sql import sql_state

    return sql_state(source, root)


def refresh_window(hours: float | None) -> str:
    """Another text after each so many hours, the same on every machine; "" for never."""
    return "" if hours is None else f"{hours:g}h:{int(time.time() // (hours * 3600))}"


def _add(count: Count, batch: Batch) -> None:
    import pyarrow.compute as pc

    count.documents += batch.documents.num_rows
    count.characters += pc.sum(pc.utf8_length(batch.documents["text"])).as_py() or 0
    if batch.rejected.num_rows:
        count.rejected.update(_values(batch.rejected, "reason"))
        if not count.first_reject:
            count.first_reject = f"{batch.rejected['uri'][0]}: {batch.rejected['detail'][0]}"


def _hold_share(source: Source, count: Count) -> None:
    share = getattr(source, "max_rejected_share", 1.0)
    rows = count.documents + count.rejects
    reasons = ", ".join(f"{name} {n:,}" for name, n in count.rejected.most_common())
    if rows and not count.documents:
        raise UserError(
            f"data.sources.{count.name}: none of {rows:,} rows can be used ({reasons}). The first: {count.first_reject}"
        )
    if count.rejects > share * rows:
        raise UserError(
            f"data.sources.{count.name}: {count.rejects:,} of {rows:,} rows cannot be used ({reasons}), more than "
            f"max_rejected_share = {share:g} allows. The first: {count.first_reject}. Correct them, or raise the share"
        )


def _values(batch: pa.RecordBatch, column: str) -> dict[str, int]:
    import pyarrow.compute as pc

    return {item["values"] or "(none)": item["counts"] for item in pc.value_counts(batch[column]).to_pylist()}


class _Picture:
    """Rows to look at, the same in every run: documents with the smallest ids (a hash), one reject of each reason."""

    def __init__(self) -> None:
        self.documents: list[dict[str, Any]] = []
        self.rejects: dict[str, dict[str, Any]] = {}
        self.sources: Counter[str] = Counter()

    def look(self, batch: Batch) -> None:
        import pyarrow.compute as pc

        table = batch.documents.select(["id", "uri", "label", "text", "source"])
        for name, n in _values(table, "source").items():
            self.sources[name.partition(":")[0]] += n
        least = pc.select_k_unstable(table, SAMPLES, [("id", "ascending")])
        self.documents = sorted([*self.documents, *table.take(least).to_pylist()], key=lambda row: row["id"])[:SAMPLES]
        for reason in set(_values(batch.rejected, "reason")) - set(self.rejects):
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
            "rejected": rejects,
            "rejected_share": rejects / max(rows + rejects, 1),
            "documents_per_second": round(rows / max(seconds, 1e-9), 1),
            "acquired_at": started.isoformat(timespec="seconds"),
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
        ],
        note="Text as it was found, markup and all. What could not be read is in `rejected.parquet`, with the reason; "
        "what is thrown out for what it says, and why, is in cleaned_documents.",
    )
