"""Tables in files: CSV, TSV, JSON lines and Parquet, read in parts and written atomically."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from llm_assets.artifacts import open_table
from llm_assets.data.openrefine.table import Table, table_of, texts
from llm_assets.data.openrefine.values import EvalError, Value, text_of
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")
PART = 20_000  # rows that are in Python at a time while operations stream


def format_of(path: Path) -> str:
    if path.suffix.lower() not in FORMATS:
        raise UserError(f"{path}: unknown format {path.suffix!r}; use one of {', '.join(FORMATS)}")
    return path.suffix.lower()


def read_tables(path: Path, part: int = PART) -> Iterator[Table]:
    """Consecutive parts of the table, one at least. Text files give texts, an empty field is blank, as when OpenRefine
    imports without guessing types; a repeated column name gets a number."""
    kind = format_of(path)
    try:
        if kind == ".parquet":
            yield from _read_parquet(path, part)
            return
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from _read_json(stream, path, part) if kind == ".jsonl" else _read_text(stream, path, kind, part)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None


def _read_text(stream: TextIO, path: Path, kind: str, part: int) -> Iterator[Table]:
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(stream, delimiter="," if kind == ".csv" else "\t")
    try:
        header = next(reader, None)
        if header is None:
            raise UserError(f"{path}: the file is empty; it needs a header line")
        names, start, rows = _names(header), 0, []
        for row in reader:
            if not row:
                continue
            if len(row) > len(names):
                raise UserError(f"{path}, line {reader.line_num}: {len(row)} fields where the header has {len(names)}")
            rows.append(row + [""] * (len(names) - len(row)))
            if len(rows) == part:
                yield _text_table(names, rows, start)
                start, rows = start + len(rows), []
        if rows or not start:
            yield _text_table(names, rows, start)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not {kind[1:].upper()} ({error})") from None


def _text_table(names: list[str], rows: list[list[str]], start: int) -> Table:
    cells = zip(*rows, strict=True) if rows else [()] * len(names)
    return table_of({name: [cell or None for cell in column] for name, column in zip(names, cells, strict=True)}, start)


def _names(header: list[str]) -> list[str]:
    """Names as OpenRefine gives them: trimmed, an empty one is "Column", a repeated one gets a number."""
    seen: dict[str, int] = {}
    names: list[str] = []
    for raw in header:
        name = raw.strip() or "Column"
        if name in seen:
            number = seen[name]
            seen[name] = number + 1
            name = f"{name} {number}" if " " in name else f"{name}{number}"
        else:
            seen[name] = 2
        while name in names:
            name += "_"
        names.append(name)
    return names


def _read_json(stream: TextIO, path: Path, part: int) -> Iterator[Table]:
    names: dict[str, None] = {}
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: must be a JSON object, it is {type(row).__name__}")
        names |= dict.fromkeys(row)
        rows.append(row)
    # The columns are known only at the end: a late line may have a new one.
    for start in range(0, max(len(rows), 1), part):
        yield record_part(rows[start : start + part], names, start)


def record_part(rows: Sequence[Mapping[str, Any]], names: Iterable[str], start: int = 0) -> Table:
    """Rows by column name as a table of cell values."""
    return table_of({name: [_cell(row.get(name)) for row in rows] for name in names}, start)


def _read_parquet(path: Path, part: int) -> Iterator[Table]:
    import pyarrow as pa

    try:
        file = open_table(path)
        start = 0
        for batch in file.iter_batches(batch_size=part):
            yield arrow_part(batch, start)
            start += batch.num_rows
        if not start:
            yield table_of({name: [] for name in file.schema_arrow.names})
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def arrow_part(batch: pa.RecordBatch, start: int = 0) -> Table:
    """An Arrow batch as a table of cell values."""
    return table_of(
        {name: [_cell(value) for value in batch.column(n).to_pylist()] for n, name in enumerate(batch.schema.names)},
        start,
    )


def _cell(value: Any) -> Value:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)


def write_arrow(table: pa.Table, path: Path) -> None:
    """Write an Arrow table in the format of the path's suffix."""
    names = table.schema.names
    parts = [arrow_part(batch) for batch in table.combine_chunks().to_batches()]
    write_tables(parts or [table_of({name: [] for name in names})], path)


def write_tables(tables: Iterable[Table], path: Path) -> int:
    """Write the parts of a table, visible only when whole; the number of rows. Errors are written as their text."""
    kind = format_of(path)
    if kind == ".parquet":
        return _write_parquet(tables, path)
    rows = 0
    with _beside(path) as partial, partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if kind == ".tsv" else ",", lineterminator="\n")
        for number, table in enumerate(tables):
            rows += table.rows
            if kind == ".jsonl":
                stream.writelines(_json_lines(table))
                continue
            if not number:
                writer.writerow(table.names)
            writer.writerows(texts(table))
        stream.flush()
        os.fsync(stream.fileno())
    return rows


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new file beside `path` that becomes it when the block ends well, and goes when it does not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}", suffix=".partial")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        partial.chmod(0o644)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _json_lines(table: Table) -> Iterator[str]:
    for row in zip(*table.columns.values(), strict=True):
        values = {name: _plain(cell) for name, cell in zip(table.columns, row, strict=True)}
        yield json.dumps(values, ensure_ascii=False) + "\n"


def _plain(cell: Value) -> Any:
    odd = isinstance(cell, float) and (cell != cell or abs(cell) == float("inf"))
    return text_of(cell) if odd or isinstance(cell, datetime | EvalError) else cell


def _write_parquet(tables: Iterable[Table], path: Path) -> int:
    """The type of a column is known only when all its cells are: the parts wait as Arrow, not as Python objects."""
    from llm_assets.artifacts import write_table

    table = arrow_table(tables)
    with _beside(path) as partial:
        write_table(table, partial)
    return int(table.num_rows)


def arrow_table(tables: Iterable[Table]) -> pa.Table:
    """Numbers, booleans and dates keep their type where a column has one; a mixed column becomes text."""
    import pyarrow as pa

    parts = []
    for table in tables:
        arrays = [_arrow_column(cells) for cells in table.columns.values()]
        parts.append(pa.table(arrays, names=table.names))
    names = parts[0].schema.names
    columns = {}
    for place, name in enumerate(names):
        chunks = [part.column(place) for part in parts]
        kinds = {chunk.type for chunk in chunks} - {pa.null()}
        if kinds == {pa.int64(), pa.float64()}:
            kind: pa.DataType = pa.float64()
        else:
            kind = kinds.pop() if len(kinds) == 1 else pa.string()
        cast = [
            chunk.cast(kind)
            if chunk.type in (kind, pa.null()) or pa.types.is_floating(kind)
            else pa.chunked_array(
                [pa.array([None if value is None else text_of(value) for value in chunk.to_pylist()])]
            )
            for chunk in chunks
        ]
        columns[name] = pa.chunked_array([piece for chunk in cast for piece in chunk.chunks], type=kind)
    return pa.table(columns)


def _arrow_column(cells: list[Value]) -> pa.Array:
    import pyarrow as pa

    kinds = {type(cell) for cell in cells} - {type(None)}
    known = {
        str: pa.string(),
        int: pa.int64(),
        float: pa.float64(),
        bool: pa.bool_(),
        datetime: pa.timestamp("us", "UTC"),
    }
    if not kinds:
        return pa.nulls(len(cells))
    if kinds == {int, float}:
        return pa.array([None if cell is None else float(cell) for cell in cells], pa.float64())
    if len(kinds) == 1 and (kind := known.get(next(iter(kinds)))):
        return pa.array(cells, kind)
    return pa.array([None if cell is None else text_of(cell) for cell in cells], pa.string())
