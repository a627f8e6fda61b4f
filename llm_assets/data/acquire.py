"""Raw documents from every source of the recipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import DOCUMENTS, Progress, Summary, no_progress, write_table
from llm_assets.data.config import DataConfig, Files, InstalledPackages, Source
from llm_assets.data.erasure import erased_state, load_erased
from llm_assets.data.feedback import feedback_state, read_feedback
from llm_assets.data.files import files_state, read_files
from llm_assets.data.packages import packages_state, read_packages
from llm_assets.data.rows import documents_table, unique_ids
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

PROJECT = Path(__file__).resolve().parent.parent.parent


def read_sources(
    sources: Sequence[Source], home: Path, progress: Progress = no_progress, root: Path = PROJECT
) -> pa.Table:
    """All documents of `sources` (document schema), in their order, ids unique.

    home: the state folder; root: where relative paths of files start.
    """
    rows: list[dict[str, Any]] = []
    for number, source in enumerate(sources):

        def report(done: float, total: float, note: str = "", number: int = number) -> None:
            progress(number + done / max(total, 1), len(sources), note)

        rows += _read(source, home, root, report)
    if not rows:
        raise UserError("data.sources: the sources hold no documents; add one that does")
    unique_ids(rows)
    erased = load_erased(home)
    rows = [row for row in rows if not erased.names(row)]
    progress(len(sources), len(sources), f"{len(rows):,} documents")
    return documents_table(rows)


def acquire_documents(sources: Sequence[Source], home: Path, out: Path, progress: Progress = no_progress) -> Summary:
    """Write `documents.parquet` of all sources."""
    table = read_sources(sources, home, progress)
    write_table(table, out / DOCUMENTS)
    labels = Counter(label or "(none)" for label in table["label"].to_pylist())
    kinds = Counter(name.partition(":")[0] for name in table["source"].to_pylist())
    texts = table["text"].to_pylist()
    picks = range(0, table.num_rows, max(1, table.num_rows // 6))
    return Summary(
        metrics={
            "rows": table.num_rows,
            "labels": len([label for label in labels if label != "(none)"]),
            "characters": sum(len(text or "") for text in texts),
            "feedback_rows": kinds.get("feedback", 0),
        },
        bars={"Documents per label": dict(labels.most_common(30)), "Documents per source": dict(kinds)},
        samples=[
            {"uri": str(table["uri"][n]), "label": str(table["label"][n]), "text": (texts[n] or "")[:200]}
            for n in list(picks)[:6]
        ],
        note="Text as it was found, markup and all. What is thrown out, and why, is in cleaned_documents.",
    )


def sources_state(data: DataConfig, home: Path, root: Path = PROJECT) -> str:
    """What changes when a source does: versions of packages, digests of files. Cheap: nothing is parsed."""
    parts = []
    for source in data.sources:
        if isinstance(source, InstalledPackages):
            parts.append(packages_state(source))
        elif isinstance(source, Files):
            parts.append(files_state(source, root))
        else:
            parts.append(feedback_state(source, home))
    return ";".join(parts) + erased_state(home)


def _read(source: Source, home: Path, root: Path, progress: Progress) -> list[dict[str, Any]]:
    if isinstance(source, InstalledPackages):
        return read_packages(source, progress)
    if isinstance(source, Files):
        return read_files(source, root, progress)
    return read_feedback(source, home)
