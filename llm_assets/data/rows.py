"""Rows on their way into a document table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import document_schema

if TYPE_CHECKING:
    import pyarrow as pa


def text_hash(text: str) -> str:
    """Hash of a text, 16 hex digits: enough for 10^9 texts to be told apart with odds of 0.97."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def document_id(source: str, uri: str) -> str:
    """The same document has the same id in every run: it depends on where it is from, not on what it says."""
    return hashlib.sha256(f"{source}\n{uri}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def documents_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows (dicts with any of the document columns) as a table of the document schema; what is absent is null."""
    import pyarrow as pa

    schema = document_schema()
    columns = {field.name: pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema}
    return pa.table(columns, schema=schema)


class TableWriter:
    """`artifacts.write_table` for batches as they come: the file is there when all of it is, and not before.

    Row groups end by rows and bytes alone, so equal rows are equal bytes however they were batched.
    """

    ROWS = 50_000
    BYTES = 64 * 2**20

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._partial = path.with_name(path.name + ".partial")

    def __enter__(self) -> TableWriter:
        import pyarrow.parquet as pq

        self._writer = pq.ParquetWriter(self._partial, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of `batch`."""
        import numpy as np
        import pyarrow.compute as pc

        while batch.num_rows:
            sizes = np.cumsum(pc.fill_null(pc.binary_length(batch["text"]), 0).to_numpy(zero_copy_only=False))
            full = int(np.searchsorted(sizes, self.BYTES - self._bytes)) + 1  # the row that fills it is the last
            part = batch.slice(0, min(full, self.ROWS - self._rows))
            self._waiting.append(part)
            self._rows += part.num_rows
            self._bytes += int(sizes[part.num_rows - 1])
            if self._rows >= self.ROWS or self._bytes >= self.BYTES:
                self._flush()
            batch = batch.slice(part.num_rows)

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._flush()
        self._writer.close()
        if kind is None:
            self._partial.replace(self._path)
        else:
            self._partial.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            table = pa.Table.from_batches(self._waiting, schema=self._schema).combine_chunks()
            self._writer.write_table(table, row_group_size=self._rows)
        self._waiting, self._rows, self._bytes = [], 0, 0


def unique_ids(rows: list[dict[str, Any]]) -> None:
    """Two rows of one uri (a function defined twice) get ids of their own, in order."""
    seen: dict[str, int] = {}
    for row in rows:
        count = seen[row["id"]] = seen.get(row["id"], 0) + 1
        if count > 1:
            row["uri"] = f"{row['uri']}~{count}"
            row["id"] = document_id(row["source"], row["uri"])
