"""Rows of a table that wait on disk, each with its number: read again batch by batch, all columns or some of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

    Numbered = tuple[np.ndarray, pa.RecordBatch]  # the numbers of the rows, int64, and the rows

BUCKETS, BUCKET_ROWS, BUCKET_BYTES = 200, 20_000, 8 * 2**20


@dataclass(frozen=True)
class Stored:
    """path: an Arrow IPC file; schema: of the rows; rows: how many; ascending: whether their numbers are."""

    path: Path
    schema: pa.Schema
    rows: int
    ascending: bool

    def batches(self, names: Sequence[str] | None = None) -> Iterator[Numbered]:
        """The rows in order, with all columns or those named."""
        import pyarrow as pa

        places = range(len(self.schema)) if names is None else [self.schema.get_field_index(name) for name in names]
        options = pa.ipc.IpcReadOptions(included_fields=[0, *(place + 1 for place in sorted(places))])
        with pa.OSFile(str(self.path)) as file, pa.ipc.open_file(file, options=options) as reader:
            for at in range(reader.num_record_batches):
                batch = reader.get_batch(at)
                numbers = batch.column(0).to_numpy()
                rows = batch.select(range(1, batch.num_columns))
                yield numbers, rows if names is None else rows.select(list(names))

    def column(self, name: str) -> Iterator[pa.Array]:
        """One column, batch by batch."""
        return (batch.column(0) for _, batch in self.batches([name]))

    def numbers_at(self, rows: np.ndarray) -> np.ndarray:
        """The numbers of the rows at these places (distinct, ascending): int64."""
        found, first = np.empty(len(rows), dtype=np.int64), 0
        for numbers, _ in self.batches([]):
            low, high = np.searchsorted(rows, [first, first + len(numbers)])
            found[low:high] = numbers[rows[low:high] - first]
            first += len(numbers)
        return found

    def table(self) -> pa.Table:
        """All rows, in memory."""
        import pyarrow as pa

        return pa.Table.from_batches([batch for _, batch in self.batches()], self.schema)

    def remove(self) -> None:
        """Free the space; there is nothing to read any more."""
        self.path.unlink(missing_ok=True)


class Storing:
    """Rows on their way into a file; `stored` of what was added, when it is closed."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self.schema = path, schema
        self._rows, self._last, self._ascending = 0, -1, True

    def __enter__(self) -> Storing:
        import pyarrow as pa

        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._file = pa.OSFile(str(self._path), "wb")
        schema = pa.schema([pa.field("number", pa.int64()), *self.schema])
        self._writer = pa.ipc.new_file(self._file, schema, options=options)
        self._whole = schema
        return self

    def add(self, numbers: np.ndarray, batch: pa.RecordBatch) -> None:
        import pyarrow as pa

        if not batch.num_rows:
            return
        self._ascending = self._ascending and self._last < numbers[0] and bool((numbers[1:] > numbers[:-1]).all())
        self._last = int(numbers[-1])
        self._rows += batch.num_rows
        self._writer.write_batch(pa.record_batch([pa.array(numbers, pa.int64()), *batch.columns], self._whole))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        self._file.close()

    def stored(self) -> Stored:
        return Stored(self._path, self.schema, self._rows, self._ascending)


def store_table(table: pa.Table, path: Path, rows: int = BUCKET_ROWS) -> Stored:
    """A table in memory, numbered from 0 on, in batches of so many rows."""
    with Storing(path, table.schema) as out:
        first = 0
        for batch in table.to_batches(max_chunksize=rows):
            out.add(np.arange(first, first + batch.num_rows), batch)
            first += batch.num_rows
    return out.stored()


def by_number(table: Stored, folder: Path, most: int) -> Stored:
    """The rows by ascending number, in another file; `table` itself where they are. Numbers are below `most`.

    They are cut into ranges of numbers on disk, of which one at a time is in memory: some 20,000 rows or 8 MB, or a
    200th of all where that is more.
    """
    from contextlib import ExitStack

    import pyarrow as pa

    if table.ascending:
        return table
    count = min(max(table.rows // BUCKET_ROWS, table.path.stat().st_size // BUCKET_BYTES) + 1, BUCKETS)
    size = -(-most // count)
    with ExitStack() as stack:
        buckets = [stack.enter_context(Storing(table.path.with_suffix(f".{at}"), table.schema)) for at in range(count)]
        for numbers, batch in table.batches():
            of = numbers // size
            for at in np.unique(of).tolist():
                chosen = np.flatnonzero(of == at)
                buckets[at].add(numbers[chosen], batch.take(pa.array(chosen)))
    with Storing(folder / f"{table.path.stem}-ordered.arrow", table.schema) as out:
        for bucket in buckets:
            held = list(bucket.stored().batches())
            if held:
                numbers = np.concatenate([numbers for numbers, _ in held])
                rows = pa.Table.from_batches([batch for _, batch in held]).combine_chunks().to_batches()[0]
                order = np.argsort(numbers, kind="stable")
                out.add(numbers[order], rows.take(pa.array(order)))
            bucket.stored().remove()
    return out.stored()


class Ahead:
    """Rows by ascending number, taken as far as is asked for."""

    def __init__(self, table: Stored) -> None:
        self._batches, self._schema = table.batches(), table.schema
        self._waiting: Numbered | None = next(self._batches, None)

    def until(self, end: int) -> tuple[np.ndarray, pa.Table]:
        """The next rows, of numbers below `end`."""
        import pyarrow as pa

        found: list[Numbered] = []
        while self._waiting is not None:
            numbers, batch = self._waiting
            cut = int(np.searchsorted(numbers, end))
            if cut:
                found.append((numbers[:cut], batch.slice(0, cut)))
            if cut < len(numbers):
                self._waiting = numbers[cut:], batch.slice(cut)
                break
            self._waiting = next(self._batches, None)
        taken = [numbers for numbers, _ in found] or [np.zeros(0, dtype=np.int64)]
        return np.concatenate(taken), pa.Table.from_batches([batch for _, batch in found], self._schema)
