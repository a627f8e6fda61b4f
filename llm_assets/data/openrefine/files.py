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
from llm_assets.data.openrefine.halves import without_halves
from llm_assets.data.openrefine.table import PART, PART_BYTES, Table, table_of, texts, together
from llm_assets.data.openrefine.values import EvalError, Value, is_whole, text_of
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = (".csv", ".tsv", ".jsonl", ".parquet")


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
        names = _names(header)
        yield from _text_parts(names, _text_rows(reader, names, path), part)
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not {kind[1:].upper()} ({error})") from None


def _text_rows(reader: Any, names: list[str], path: Path) -> Iterator[list[str]]:
    for row in reader:
        if len(row) > len(names):
            raise UserError(f"{path}, line {reader.line_num}: {len(row)} fields where the header has {len(names)}")
        if row:
            yield row + [""] * (len(names) - len(row))


def _text_parts(names: list[str], rows: Iterator[list[str]], part: int) -> Iterator[Table]:
    start = 0
    for some in together(rows, part, lambda row: sum(map(len, row))):
        yield _text_table(names, some, start)
        start += len(some)


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
    """Read twice: a late line may have a new column, and all parts have all columns."""
    names: dict[str, None] = {}
    for number, row in enumerate(_json_rows(stream, path), 1):
        for name in row.keys() - names.keys():
            if not is_whole(name):
                raise UserError(f"{path}, row {number}: the column name {name!r} has half of a surrogate pair")
        names |= dict.fromkeys(row)
    stream.seek(0)
    start = 0
    for some in together(_json_rows(stream, path), part, record_size):
        yield record_part(some, names, start)
        start += len(some)


def _json_rows(stream: TextIO, path: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(stream, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: must be a JSON object, it is {type(row).__name__}")
        yield row


def record_size(row: Mapping[str, Any]) -> int:
    """Characters of the texts of a row."""
    return sum(len(cell) for cell in row.values() if isinstance(cell, str))


def record_part(rows: Sequence[Mapping[str, Any]], names: Iterable[str], start: int = 0) -> Table:
    """Rows by column name as a table of cell values."""
    return table_of({name: [_cell(row.get(name)) for row in rows] for name in names}, start)


def _read_parquet(path: Path, part: int) -> Iterator[Table]:
    import pyarrow as pa

    try:
        file = open_table(path)
        groups = (file.metadata.row_group(number) for number in range(file.metadata.num_row_groups))
        mean = sum(group.total_byte_size for group in groups) / max(file.metadata.num_rows, 1)
        start = 0
        for batch in file.iter_batches(batch_size=max(1, min(part, int(PART_BYTES // max(mean, 1))))):
            yield arrow_part(batch, start)
            start += batch.num_rows
        if not start:
            yield table_of({name: [] for name in file.schema_arrow.names})
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file ({error})") from None


def arrow_part(batch: pa.RecordBatch, start: int = 0) -> Table:
    """An Arrow batch as a table of cell values."""
    return table_of({name: _cells(batch.column(n)) for n, name in enumerate(batch.schema.names)}, start)


def _cells(array: pa.Array) -> list[Value]:
    import pyarrow as pa
    import pyarrow.compute as pc

    cells: list[Value]
    if pa.types.is_string(array.type) or pa.types.is_large_string(array.type):
        cells = pc.if_else(pc.equal(array, ""), None, array).to_pylist()
    elif pa.types.is_boolean(array.type) or pa.types.is_integer(array.type) or pa.types.is_floating(array.type):
        cells = array.to_pylist()
    else:
        cells = [_cell(value) for value in array.to_pylist()]
    return cells


def _cell(value: Any) -> Value:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str | int | float | bool):
        return value
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)


def write_tables(tables: Iterable[Table], path: Path) -> int:
    """Write the parts of a table, visible only when whole; the number of rows. Errors are written as their text, half
    of a surrogate pair as `?`."""
    kind = format_of(path)
    tables = (without_halves(table)[0] for table in tables)
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


def make_folder(path: Path) -> None:
    """The folder of a file that is to be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A new file beside `path` that becomes it when the block ends well, and goes when it does not."""
    make_folder(path)
    try:
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
    """The type of a column is known only when all its cells are: the parts wait beside the file."""
    import pyarrow as pa

    from llm_assets.data.openrefine.typed import Spool, packed
    from llm_assets.data.rows import TableWriter

    rows = 0
    with _beside(path) as partial, tempfile.TemporaryDirectory(prefix=".parts-", dir=path.parent) as folder:
        with Spool(Path(folder) / "parts") as spool:
            for table in tables:
                spool.add(packed(table))
                rows += table.rows
        texts = [field.name for field in spool.schema if pa.types.is_string(field.type)]
        with TableWriter(partial, spool.schema, texts) as writer:
            for _, batch in spool.batches():
                writer.write(batch)
    return rows
