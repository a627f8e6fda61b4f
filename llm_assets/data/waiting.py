"""Documents between the two passes of cleaning: on disk, with what was counted so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import document_schema
from llm_assets.data.clean_batch import Cleaned
from llm_assets.data.config import NearDuplicateConfig
from llm_assets.data.dedup import DuplicateIndex
from llm_assets.data.steps import RAW, Report

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Waiting:
    """What the first pass lets through, in `folder`: read back batch by batch, or single columns of all of it."""

    folder: Path
    near_duplicates: NearDuplicateConfig
    rows_in: int = 0
    reports: dict[str, Report] = field(default_factory=dict)

    def __enter__(self) -> Waiting:
        """Open for writing."""
        import pyarrow as pa

        self.index = DuplicateIndex(self.folder, self.near_duplicates)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._file = pa.OSFile(str(self._path), "wb")
        self._kept = pa.ipc.new_file(self._file, document_schema().append(pa.field(RAW, pa.string())), options=options)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._kept.close()
        self._file.close()

    @property
    def _path(self) -> Path:
        return self.folder / "kept.arrow"

    def add(self, done: Cleaned) -> None:
        self._kept.write_batch(done.kept)
        self.index.add(done.signatures, done.rank)
        self.rows_in += done.kept.num_rows + done.rejected.num_rows
        for name, report in done.reports.items():
            self.reports.setdefault(name, Report()).add(report)

    def batches(self, names: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """All columns, or only those named."""
        import pyarrow as pa

        fields = None if names is None else sorted(document_schema().get_field_index(name) for name in names)
        options = pa.ipc.IpcReadOptions(included_fields=fields)
        with pa.OSFile(str(self._path)) as file, pa.ipc.open_file(file, options=options) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)

    def narrow(self) -> pa.Table:
        """label, split and source of each document."""
        import pyarrow as pa

        names = ["label", "split", "source"]
        schema = pa.schema([document_schema().field(name) for name in names])
        return pa.Table.from_batches([batch.select(names) for batch in self.batches(names)], schema)

    def ids(self, rows: np.ndarray) -> pa.Array:
        """The ids of the documents of these numbers."""
        import pyarrow as pa

        order = np.argsort(rows, kind="stable")
        ascending, first, found = rows[order], 0, [pa.array([], pa.string())]
        for batch in self.batches(["id"]):
            begin, end = np.searchsorted(ascending, [first, first + batch.num_rows])
            found.append(batch["id"].take(pa.array(ascending[begin:end] - first)))
            first += batch.num_rows
        return pa.concat_arrays(found).take(pa.array(np.argsort(order, kind="stable")))
