"""Rows on their way into a document table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import document_schema, rejected_schema

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
    return _table(rows, document_schema())


def rejected_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """The same of rejected rows, which also have `reason` and `detail`."""
    return _table(rows, rejected_schema())


def _table(rows: Sequence[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = {field.name: pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema}
    return pa.table(columns, schema=schema)


def joined_licence(*licences: str | None) -> str | None:
    """The licence of a text made of several: theirs, by name."""
    return " AND ".join(sorted({licence for licence in licences if licence})) or None


class RepeatedIds:
    """Makes ids unique over all batches: two rows of one uri (a function defined twice) get ids of their own, in order.

    It remembers eight bytes a row, in sorted runs that are merged as they grow.
    """

    def __init__(self) -> None:
        self._runs: list[Any] = []
        self._counts: dict[int, int] = {}

    def mend(self, documents: pa.RecordBatch) -> pa.RecordBatch:
        """`documents` (document schema) with new uris and ids for rows whose id was there before."""
        import numpy as np
        import pyarrow as pa

        ids = documents["id"].to_pylist()
        keys = np.array([id_key(name) for name in ids], dtype=np.uint64)
        distinct, first = np.unique(keys, return_index=True)
        again = np.ones(len(keys), dtype=bool)
        again[first] = self._known(distinct)
        self._remember(distinct)
        if not again.any():
            return documents
        uris, sources = documents["uri"].to_pylist(), documents["source"].to_pylist()
        for row in np.flatnonzero(again):
            key = int(keys[row])
            count = self._counts[key] = self._counts.get(key, 1) + 1
            uris[row] = f"{uris[row]}~{count}"
            ids[row] = document_id(sources[row], uris[row])
        schema = documents.schema
        for name, values in (("id", ids), ("uri", uris)):
            documents = documents.set_column(schema.get_field_index(name), schema.field(name), pa.array(values))
        return documents

    def _known(self, keys: Any) -> Any:
        import numpy as np

        known = np.zeros(len(keys), dtype=bool)
        for run in self._runs:
            places = np.searchsorted(run, keys)
            known |= run[np.minimum(places, len(run) - 1)] == keys
        return known

    def _remember(self, keys: Any) -> None:
        import numpy as np

        if len(keys):
            self._runs.append(keys)
        while len(self._runs) > 1 and len(self._runs[-2]) <= 2 * len(self._runs[-1]):
            last = self._runs.pop()
            self._runs[-1] = np.union1d(self._runs[-1], last)


def id_key(name: str) -> int:
    """Eight bytes that stand for an id."""
    try:
        return int(name, 16) if len(name) == 16 else int(text_hash(name), 16)
    except ValueError:
        return int(text_hash(name), 16)


class TableWriter:
    """`artifacts.write_table` for batches as they come: the file is there when all of it is, and not before.

    Row groups end by rows and bytes of `texts` alone, so equal rows are equal bytes however they were batched.
    """

    ROWS = 50_000
    BYTES = 64 * 2**20

    def __init__(self, path: Path, schema: pa.Schema, texts: Sequence[str] = ("text",)) -> None:
        self._path, self._schema, self._texts = path, schema, texts
        self._partial = path.with_name(path.name + ".partial")

    def __enter__(self) -> TableWriter:
        import pyarrow.parquet as pq

        self._sink = self._partial.open("wb")
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._waiting: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the rows of `batch`."""
        import numpy as np
        import pyarrow.compute as pc

        while batch.num_rows:
            sizes = np.zeros(batch.num_rows, dtype=np.int64)
            for name in self._texts:
                sizes += pc.fill_null(pc.binary_length(batch[name]), 0).to_numpy(zero_copy_only=False)
            sizes = np.cumsum(sizes)
            full = int(np.searchsorted(sizes, self.BYTES - self._bytes)) + 1  # the row that fills it is the last
            part = batch.slice(0, min(full, self.ROWS - self._rows))
            self._waiting.append(part)
            self._rows += part.num_rows
            self._bytes += int(sizes[part.num_rows - 1])
            if self._rows >= self.ROWS or self._bytes >= self.BYTES:
                self._flush()
            batch = batch.slice(part.num_rows)

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._flush()
            self._writer.close()
            if kind is None:
                self._partial.replace(self._path)
        finally:  # on a full disk the space must be free again before anything else is written
            with suppress(OSError):
                self._writer.close()
            self._sink.close()
            self._partial.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            table = pa.Table.from_batches(self._waiting, schema=self._schema).combine_chunks()
            self._waiting = []  # which is as much again, and no longer needed
            self._writer.write_table(table, row_group_size=self._rows)
        self._waiting, self._rows, self._bytes = [], 0, 0
