"""One source as a stream of record batches, counted: its config in, documents and rejects out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.sources.config import Feedback, Files, HuggingFace, InstalledPackages, Source, Web
from llm_assets.data.sources.found import Batch, Found, batches
from llm_assets.data.tabular import StepReport
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

PROJECT = Path(__file__).resolve().parent.parent.parent.parent


@dataclass
class Count:
    """What came of one source: all that was found is a document or a reject.

    unreadable: rejects but those of the source's own `tidy`, of whose steps there is a report each.
    """

    name: str
    found: int = 0
    documents: int = 0
    characters: int = 0
    seconds: float = 0.0
    rejected: Counter[str] = field(default_factory=Counter)
    first_reject: str = ""
    unreadable: int = 0
    tidy: list[StepReport] = field(default_factory=list)

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
        _counted(_found(source, home, root, progress, count), count),
        source=source.kind,
        licence=licence,
        split=split,
        max_text_bytes=limit,
    )
    started = time.perf_counter()
    for batch in stream:
        _add(count, batch)
        if count.unreadable and isinstance(source, Files) and source.on_bad_rows == "fail":
            raise UserError(f"{count.first_reject}; correct or remove it (on_bad_rows is `fail`)")
        count.seconds += time.perf_counter() - started
        yield batch
        started = time.perf_counter()
    count.seconds += time.perf_counter() - started
    _hold_share(source, count)


def value_counts(batch: pa.RecordBatch, column: str) -> dict[str, int]:
    """How often each value is in a column of text; "(none)" for null."""
    import pyarrow.compute as pc

    return {item["values"] or "(none)": item["counts"] for item in pc.value_counts(batch[column]).to_pylist()}


def _found(source: Source, home: Path, root: Path, progress: Progress, count: Count) -> Iterator[Found]:
    if isinstance(source, InstalledPackages):
        from llm_assets.data.sources.packages import read_packages

        return read_packages(source, progress)
    if isinstance(source, Feedback):
        from llm_assets.data.sources.feedback import read_feedback

        return read_feedback(source, home)
    if isinstance(source, Files):
        from llm_assets.data.sources.files import read_files
        from llm_assets.data.sources.tidied import tidied

        found = read_files(source, root, progress)
        return tidied(found, source, root, home, count.tidy) if source.tidy else found
    if isinstance(source, HuggingFace):
        from llm_assets.data.sources.huggingface import read_huggingface

        return read_huggingface(source, root, progress)
    if isinstance(source, Web):
        from llm_assets.data.sources.web import read_web

        return read_web(source, home, progress)
    from llm_assets.data.sources.sql import read_sql

    return read_sql(source, home, root, progress)


def _counted(found: Iterator[Found], count: Count) -> Iterator[Found]:
    for item in found:
        count.found += 1
        yield item


def _add(count: Count, batch: Batch) -> None:
    import pyarrow.compute as pc

    count.documents += batch.documents.num_rows
    count.characters += pc.sum(pc.utf8_length(batch.documents["text"])).as_py() or 0
    if batch.rejected.num_rows:
        count.rejected.update(value_counts(batch.rejected, "reason"))
        count.unreadable += pc.sum(pc.equal(pc.list_value_length(batch.rejected["steps"]), 0)).as_py()
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
    if count.unreadable > share * rows:
        raise UserError(
            f"data.sources.{count.name}: {count.unreadable:,} of {rows:,} rows cannot be used ({reasons}), more than "
            f"max_rejected_share = {share:g} allows. The first: {count.first_reject}. Correct them, or raise the share"
        )
