"""The profile of a table: a Parquet, CSV, TSV or JSONL file, or Arrow data, read batch by batch."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.artifacts import Progress, no_progress, open_table
from llm_assets.data.profile_columns import ColumnCounts, Declared
from llm_assets.data.profile_counts import Counts
from llm_assets.data.profile_judge import column_profile
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 65_536  # rows
BLOCK = 8 << 20  # bytes of a CSV or JSONL file that are read at once
FORMATS = (".parquet", ".csv", ".tsv", ".jsonl", ".ndjson")
Refuse = Callable[[str], None]


def profile_table(
    batches: Iterable[pa.RecordBatch],
    declared: Mapping[str, Declared] | None = None,
    progress: Progress = no_progress,
    rows: int = 0,
) -> dict[str, Any]:
    """{rows, duplicate_rows, keys, columns: {name: profile}} of a stream of batches, whose columns may differ.

    For each column valid + mismatched + missing is the number of rows; all counts are exact. `declared` says what is
    known of columns beforehand; the type of every other is told by its values. rows: how many to expect, if known.
    """
    import pyarrow as pa

    columns: dict[str, ColumnCounts] = {}
    whole, done = Counts(candidates=1), 0
    for batch in batches:
        for part in _slices(batch):
            seen = np.zeros(part.num_rows, np.uint64)
            for name in dict.fromkeys([*columns, *part.schema.names]):
                if name not in columns:
                    columns[name] = ColumnCounts(name, (declared or {}).get(name))
                    columns[name].skip(done)
                if name not in part.schema.names:
                    columns[name].skip(part.num_rows)
                    continue
                column = part.column(name)
                hashes = columns[name].update(column.storage if isinstance(column, pa.ExtensionArray) else column)
                seen ^= hashes * _multiplier(name)
            unique, counts = np.unique(seen, return_counts=True)
            whole.add(unique, counts)
            done += part.num_rows
            progress(done, max(rows, done), f"{done:,} rows")
    profiles = {name: column_profile(column) for name, column in columns.items()}
    return {
        "rows": done,
        "duplicate_rows": done - whole.finish().distinct,
        "keys": [name for name, found in profiles.items() if done > 1 and found["distinct"] == done],
        "columns": profiles,
    }


def profile_file(
    path: Path, *, header: bool = True, delimiter: str | None = None, progress: Progress = no_progress
) -> dict[str, Any]:
    """The profile of a file, with `unread`: {what is wrong with a line: how many lines}."""
    unread: dict[str, int] = {}

    def refuse(reason: str) -> None:
        unread[reason] = unread.get(reason, 0) + 1

    with closing(read_batches(path, refuse, header=header, delimiter=delimiter)) as batches:
        report = profile_table(batches, progress=progress)
    if not report["columns"]:
        raise UserError(f"{path}: holds no rows; there is nothing to profile")
    return {**report, "unread": dict(sorted(unread.items()))}


def read_batches(
    path: Path, refuse: Refuse, *, header: bool = True, delimiter: str | None = None
) -> Generator[pa.RecordBatch]:
    """Record batches of a file. Values of text formats stay the text they are; lines that are no rows go to `refuse`.

    CSV and JSON lines may be compressed (.gz, for CSV also .bz2 and .zst). Errors name the file and what to do.
    """
    import pyarrow as pa

    if not path.is_file():
        raise UserError(f"{path}: no such file; give a table ({', '.join(FORMATS)})")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = next((suffix for suffix in reversed(suffixes) if suffix in FORMATS), "")
    if not kind:
        raise UserError(f"{path}: unknown format {path.suffix!r}; use one of {', '.join(FORMATS)}")
    try:
        if kind == ".parquet":
            yield from parquet_batches(path)
        elif kind in (".csv", ".tsv"):
            yield from _csv(path, kind, refuse, header, delimiter)
        else:
            yield from _json_lines(path, refuse)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, EOFError, OSError, UnicodeDecodeError) as error:
        what = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path}: cannot be read as {kind[1:]} ({what}); correct the file, or save it as UTF-8"
        ) from None


def parquet_batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Record batches of a Parquet file, of fewer rows the longer these are, so that a batch stays near BLOCK bytes."""
    with open_table(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
        longest = max((group.total_byte_size / max(group.num_rows, 1) for group in groups), default=1)
        yield from file.iter_batches(batch_size=int(min(BATCH, max(BLOCK / max(longest, 1), 16))), columns=columns)


def _csv(path: Path, kind: str, refuse: Refuse, header: bool, delimiter: str | None) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv

    mark = delimiter or ("\t" if kind == ".tsv" else _delimiter(path))

    def ragged(row: csv.InvalidRow) -> str:
        refuse(f"{row.actual_columns} fields where {row.expected_columns} are expected")
        return "skip"

    def options(handler: Callable[[csv.InvalidRow], str]) -> csv.ParseOptions:
        quotes = kind == ".csv"  # tab-separated values have none (IANA text/tab-separated-values)
        return csv.ParseOptions(
            delimiter=mark, newlines_in_values=quotes, quote_char='"' if quotes else False, invalid_row_handler=handler
        )

    peek, parse = options(lambda row: "skip"), options(ragged)
    read = csv.ReadOptions(block_size=BLOCK, use_threads=False, autogenerate_column_names=not header)
    with csv.open_csv(path, read, peek, csv.ConvertOptions()) as reader:
        names = list(reader.schema.names)
    unique = _unique(names)
    read.column_names, read.skip_rows, read.autogenerate_column_names = unique, int(header), False
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(unique, pa.string()), strings_can_be_null=False, check_utf8=True
    )
    with csv.open_csv(path, read, parse, convert) as reader:
        yield from reader


def _delimiter(path: Path) -> str:
    """The mark of , ; tab | that the first line holds most of, outside quotes."""
    import pyarrow as pa

    with pa.input_stream(str(path), compression="detect") as stream:
        first = stream.read(65_536).decode("utf-8", "replace").split("\n", 1)[0]
    bare = "".join(first.split('"')[::2])
    return max(",;\t|", key=lambda mark: (bare.count(mark), -",;\t|".index(mark)))


def _unique(names: list[str]) -> list[str]:
    """Column names without white space around them, no two alike and none empty."""
    found: dict[str, None] = {}
    for number, name in enumerate(names, 1):
        plain = name.strip().lstrip("\ufeff") or f"column {number}"
        found[plain if plain not in found else f"{plain} ({number})"] = None
    return list(found)


def _json_lines(path: Path, refuse: Refuse) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    columns: dict[str, list[str | None]] = {}
    rows = size = 0
    with gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb") as stream:
        for line in stream:
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                refuse("not JSON")
                continue
            if not isinstance(record, dict):
                refuse("not a JSON object")
                continue
            for name, value in record.items():
                if name not in columns:
                    columns[name] = [None] * rows
                columns[name].append(_text(value))
            rows += 1
            size += len(line)
            for values in columns.values():
                if len(values) < rows:
                    values.append(None)
            if rows == BATCH or size > BLOCK:
                yield pa.record_batch({name: pa.array(values, pa.string()) for name, values in columns.items()})
                columns = {name: [] for name in columns}
                rows = size = 0
    if rows:
        yield pa.record_batch({name: pa.array(values, pa.string()) for name, values in columns.items()})


def _text(value: Any) -> str | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text.encode("utf-8", "replace").decode() if not text.isprintable() else text  # lone surrogates


def _slices(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    rows = int(min(BATCH, max(2 * BLOCK * batch.num_rows // max(batch.nbytes, 1), 16)))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _multiplier(name: str) -> np.uint64:
    """An odd number that depends on a column's name, so that a row's hash does on which value is in which column."""
    import hashlib

    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little") | 1)
