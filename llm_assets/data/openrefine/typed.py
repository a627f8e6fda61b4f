"""Parts of a table on disk until all of it is there: only then is known of what type a column is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_assets.data.openrefine.spilled import dumps, loads
from llm_assets.data.openrefine.table import Table
from llm_assets.data.openrefine.values import Value, text_of
from llm_assets.data.stored import Stored, Storing

if TYPE_CHECKING:
    import pyarrow as pa


class Packed(NamedTuple):
    """A part of a table. kinds: the kinds of cells in each column; rows: the number of each as read (column 0), and its
    cells without a loss."""

    kinds: dict[str, set[str]]
    rows: pa.RecordBatch


def packed(table: Table) -> Packed:
    import pyarrow as pa

    columns = {name: _as_they_are(cells) for name, cells in table.columns.items()}
    arrays = [pa.array(table.origin, pa.int64()), *(array for _, array in columns.values())]
    batch = pa.record_batch(arrays, names=["", *table.names])
    return Packed({name: kinds for name, (kinds, _) in columns.items()}, batch)


class Spool:
    """Parts are added as cell values; `batches` has them with numbers, booleans and dates where a column has only
    one of them, 1 and 2.5 as 1.0 and 2.5, and texts in any other column. A column that a part lacks is blank in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kinds: dict[str, set[str]] = {}

    def __enter__(self) -> Spool:
        import pyarrow as pa

        self._file = pa.OSFile(str(self.path), "wb")
        return self

    def add(self, part: Packed) -> None:
        import pyarrow as pa

        for name, kinds in part.kinds.items():
            self._kinds.setdefault(name, set()).update(kinds)
        if part.rows.num_rows:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.ipc.new_stream(self._file, part.rows.schema, options=options) as writer:
                writer.write_batch(part.rows)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def schema(self) -> pa.Schema:
        import pyarrow as pa

        return pa.schema([(name, _type_of(kinds)) for name, kinds in self._kinds.items()])

    def batches(self) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        """(the numbers of the rows as read, the rows), part by part; the spool is closed for writing."""
        import pyarrow as pa

        schema, size = self.schema, self.path.stat().st_size
        with pa.OSFile(str(self.path)) as file:
            while file.tell() < size:
                with pa.ipc.open_stream(file) as reader:
                    batch = reader.read_next_batch()
                    for _ in reader:
                        pass  # up to the mark of the end
                names = batch.schema.names[1:]
                arrays = [
                    _typed(batch.column(names.index(field.name) + 1), field.type)
                    if field.name in names
                    else pa.nulls(batch.num_rows, field.type)
                    for field in schema
                ]
                yield batch.column(0), pa.record_batch(arrays, schema=schema)

    def stored(self, path: Path) -> Stored:
        """The rows in another file, a batch a part; this one goes."""
        with Storing(path, self.schema) as out:
            for numbers, batch in self.batches():
                out.add(numbers.to_numpy(), batch)
        self.path.unlink()
        return out.stored()


def store_parts(parts: Iterable[Table | Packed], folder: Path, name: str) -> Stored:
    """The parts of a table as rows on disk, numbered by their origin."""
    with Spool(folder / f"{name}.parts") as spool:
        for part in parts:
            spool.add(part if isinstance(part, Packed) else packed(part))
    return spool.stored(folder / f"{name}.arrow")


def _as_they_are(cells: list[Value]) -> tuple[set[str], pa.Array]:
    """(the kinds of cells there are, the cells without a loss): cells of several kinds as JSON, one by one."""
    import pyarrow as pa

    types = set(map(type, cells)) - {type(None)}
    known: dict[type, Any] = {
        str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), datetime: pa.timestamp("us", "UTC")
    }  # fmt: skip
    kinds = {kind.__name__ for kind in types}
    if not types:
        return kinds, pa.nulls(len(cells))
    if len(types) == 1 and (one := next(iter(types))) in known:
        try:
            if one is not datetime or all(cell is None or cell.utcoffset() == timedelta(0) for cell in cells):
                return kinds, pa.array(cells, known[one])
        except OverflowError:  # a whole number of more than 64 bits
            kinds = {"other"}
    elif int in types and any(type(cell) is int and not -(2**63) <= cell < 2**63 for cell in cells):
        kinds |= {"other"}
    return kinds, pa.array([None if cell is None else dumps(cell) for cell in cells], pa.binary())


def _type_of(kinds: set[str]) -> pa.DataType:
    import pyarrow as pa

    if kinds == {"int", "float"}:
        return pa.float64()
    known = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "datetime": pa.timestamp("us", "UTC")}
    return known.get(next(iter(kinds)), pa.string()) if len(kinds) == 1 else pa.string()


def _typed(array: pa.Array, kind: pa.DataType) -> pa.Array:
    import pyarrow as pa

    if array.type in (kind, pa.null()):
        return array.cast(kind)
    cells = array.to_pylist()
    if pa.types.is_binary(array.type):
        cells = [None if cell is None else loads(cell) for cell in cells]
    if pa.types.is_floating(kind):
        return pa.array([None if cell is None else float(cell) for cell in cells], kind)
    return pa.array(cells if pa.types.is_timestamp(kind) else [_text(cell) for cell in cells], kind)


def _text(cell: Value) -> str | None:
    return None if cell is None else text_of(cell)
