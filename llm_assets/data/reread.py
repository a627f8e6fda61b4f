"""Documents that are read more than once, batch by batch: from a Parquet file, or from a table in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from llm_assets.artifacts import open_table

if TYPE_CHECKING:
    import pyarrow as pa

    Documents: TypeAlias = Path | pa.Table

BATCH_ROWS, BATCH_BYTES = 1000, 8 * 2**20


def batches_of(documents: Documents, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file or a table, in order: at most `BATCH_ROWS` together, of a file some `BATCH_BYTES`."""
    if not isinstance(documents, Path):
        table = documents if columns is None else documents.select(columns)
        yield from table.to_batches(max_chunksize=BATCH_ROWS)
        return
    with open_table(documents) as file:
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        mean = sum(group.total_byte_size for group in groups) / max(file.metadata.num_rows, 1)
        yield from file.iter_batches(max(1, min(BATCH_ROWS, int(BATCH_BYTES // max(mean, 1)))), columns=columns)


def count_rows(documents: Documents) -> int:
    import pyarrow.parquet as pq

    return int(pq.read_metadata(documents).num_rows if isinstance(documents, Path) else documents.num_rows)


def batches_at(
    documents: Documents, numbers: Sequence[int] | np.ndarray, columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """The rows of these numbers (distinct, ascending), in one scan."""
    import pyarrow as pa

    wanted, first = np.asarray(numbers, dtype=np.int64), 0
    for batch in batches_of(documents, columns):
        low, high = np.searchsorted(wanted, [first, first + batch.num_rows])
        yield batch.take(pa.array(wanted[low:high] - first))
        first += batch.num_rows
