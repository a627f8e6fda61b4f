"""What flows between stages: tables, models, packages and reports, and what people look at beside them.

Every artifact is a directory of files. Its data version is the hash of those files, so nothing that differs
from run to run (times, host names, absolute paths) may be in them; such things go into the `Summary`.

| artifact | files |
|---|---|
| documents (raw, cleaned, augmented, balanced) | `documents.parquet`, and `rejected.parquet` of what went |
| preference pairs | `pairs.parquet` |
| checkpoint (pretrained, finetuned …) | a Hugging Face folder: `config.json`, `model.safetensors`, `tokenizer.json` … |
| package (quantized, release candidate) | `model.onnx`, `tokenizer.json`, `package.json` |
| report | `report.json` (+ `report.html`; of the data also `data_card.md`) |
| any of them | `samples.json`: the rows that people are shown, where there are some |
"""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

DOCUMENTS = "documents.parquet"
REJECTED = "rejected.parquet"
PAIRS = "pairs.parquet"
REPORT = "report.json"
PACKAGE = "package.json"
CHECKPOINT = "checkpoint"  # a package's folder with the weights it was exported from, where it holds them
SAMPLES = "samples.json"
SPLITS = ("train", "validation", "test", "canary")
READ_BYTES = 2**20  # of a column at a time

Scalar = float | int | str | bool


@dataclass
class Summary:
    """What a person looks at, and what gates read: kept beside an artifact's version, outside its content hash.

    The samples are people's texts: they go into the artifact, as `samples.json`, where they can be erased. Nothing
    else here may quote a row; labels and names of templates may be named.

    metrics: flat numbers and short texts; the gates of models and reports see them as one row.
    curves:  title -> [(x, y), ...], drawn as line charts (loss over steps).
    bars:    title -> {name: value}, drawn as bar charts (counts per label, quality per variant).
    shares:  title -> {name: {part: count}}, drawn as full-width bars cut into shares (valid, mismatched, missing).
    tables:  title -> rows of short texts, shown as tables.
    samples: a few rows of short texts, shown as a table (before and after).
    note:    one or two sentences of Markdown: the reason for a choice, what to look at.
    """

    metrics: dict[str, Scalar] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    bars: dict[str, dict[str, float]] = field(default_factory=dict)
    shares: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    tables: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    samples: list[dict[str, str]] = field(default_factory=list)
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """All of it but the samples."""
        return {name: value for name, value in asdict(self).items() if name != "samples"}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Summary:
        return cls(**value)


class Progress(Protocol):
    """How long work says where it is. Called often; the receiver throttles and adds the time left."""

    def __call__(self, done: float, total: float, note: str = "") -> None: ...


def no_progress(done: float, total: float, note: str = "") -> None:
    """The `Progress` of a notebook or a test that does not look."""


def document_schema() -> pa.Schema:
    """One row per document.

    `text` is what a model reads; `summary` and `body` are its first sentence and the rest where a document has
    both; `label` is its class where known; `weight` multiplies its loss; `parents` are the ids of the rows it was
    made from, and `steps` the names of the steps it went through. `fetched_at` is what the source itself records of
    the document (WARC-Date, Last-Modified, a date column; null where it records nothing): the time at which we read it
    is not in the table, or no two acquisitions of equal data would be equal.
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("text", pa.string()),
            pa.field("label", pa.string()),
            pa.field("summary", pa.string()),
            pa.field("body", pa.string()),
            pa.field("split", pa.string()),
            pa.field("weight", pa.float32()),
            pa.field("source", pa.string(), nullable=False),
            pa.field("uri", pa.string(), nullable=False),
            pa.field("licence", pa.string()),
            pa.field("content_hash", pa.string(), nullable=False),
            pa.field("parents", pa.list_(pa.string())),
            pa.field("steps", pa.list_(pa.string())),
            pa.field("fetched_at", pa.timestamp("us", tz="UTC")),
        ]
    )


def rejected_schema() -> pa.Schema:
    """A rejected document is the document plus the `reason` (the rule's name) and the `detail` of its rejection."""
    import pyarrow as pa

    return (
        document_schema()
        .append(pa.field("reason", pa.string(), nullable=False))
        .append(pa.field("detail", pa.string()))
    )


def pair_schema() -> pa.Schema:
    """One preference: for `prompt` (rendered chat text), `chosen` is a better answer than `rejected`."""
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("task", pa.string(), nullable=False),
            pa.field("prompt", pa.string(), nullable=False),
            pa.field("chosen", pa.string(), nullable=False),
            pa.field("rejected", pa.string(), nullable=False),
            pa.field("origin", pa.string(), nullable=False),  # "bootstrap" or "feedback"
            pa.field("split", pa.string(), nullable=False),
            pa.field("document_id", pa.string(), nullable=False),
        ]
    )


def write_table(table: pa.Table, path: Path) -> None:
    """Parquet with fixed settings, so that equal tables are equal bytes; visible only when whole."""
    import pyarrow.parquet as pq

    partial = path.with_name(path.name + ".partial")
    pq.write_table(table, partial, compression="zstd", row_group_size=50_000)
    partial.replace(path)


def open_table(path: Path) -> pq.ParquetFile:
    """A Parquet file to be read batch by batch, of which no more than that is in memory.

    pyarrow's default is made for remote files: it keeps all bytes that were read until the last batch.
    """
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, pre_buffer=False, buffer_size=READ_BYTES)


def read_table(path: Path, columns: list[str] | None = None) -> pa.Table:
    """`path` is a Parquet file, memory-mapped."""
    import pyarrow.parquet as pq

    return pq.read_table(path, columns=columns, memory_map=True)


def write_json(value: Any, path: Path) -> None:
    """JSON with sorted keys, written beside `path` and moved into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    handle, partial = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".partial")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
