"""Texts from files: JSON lines, CSV, Parquet, plain text; compressed or not."""

from __future__ import annotations

import csv
import glob
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from llm_assets.artifacts import Progress
from llm_assets.data.config import Files
from llm_assets.data.rows import document_id, text_hash
from llm_assets.errors import UserError

FORMATS = (".jsonl", ".csv", ".parquet", ".txt")
Record = tuple[str, Any, Any]  # (place in the file, text, label)


def find_files(source: Files, root: Path) -> list[Path]:
    """The files of a source, sorted; a pattern that matches none is an error."""
    found: dict[Path, None] = {}
    for pattern in source.paths:
        full = pattern if Path(pattern).is_absolute() else str(root / pattern)
        matches = sorted(Path(path) for path in glob.glob(full, recursive=True) if Path(path).is_file())  # noqa: PTH207
        if not matches:
            raise UserError(f"data.sources: no file matches {pattern!r} (looked for {full}); correct `paths`")
        found.update(dict.fromkeys(matches))
    return list(found)


def read_files(source: Files, root: Path, progress: Progress) -> list[dict[str, Any]]:
    """One row per text. The uri names the file as the recipe does, so that ids do not depend on where it lies."""
    paths = find_files(source, root)
    rows: list[dict[str, Any]] = []
    for done, path in enumerate(paths):
        progress(done, len(paths), path.name)
        shown = path.relative_to(root).as_posix() if path.is_relative_to(root) else _short(path)
        before = len(rows)
        for place, text, label in _records(path, source):
            uri = f"file://{shown}#{place}"
            text = None if text is None else str(text)
            rows.append(
                {
                    "id": document_id("files", uri),
                    "text": text,
                    "label": None if label is None or str(label).strip() == "" else str(label),
                    "split": source.split,
                    "source": "files",
                    "uri": uri,
                    "licence": source.licence,
                    "content_hash": text_hash(text or ""),
                    "parents": [],
                    "steps": [],
                }
            )
        if len(rows) == before:
            raise UserError(f"{path}: holds no rows; remove it from data.sources or fill it")
    progress(len(paths), len(paths), "")
    return rows


def files_state(source: Files, root: Path) -> str:
    """Digest of the contents; the paths are in the recipe."""
    parts = []
    for path in find_files(source, root):
        stat = path.stat()
        parts.append(_digest(path, stat.st_size, stat.st_mtime_ns))
    return ",".join(parts)


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:24]


def _short(path: Path) -> str:
    return "/".join(path.parts[-2:])


def _records(path: Path, source: Files) -> Iterator[Record]:
    suffixes = path.suffixes
    packed = bool(suffixes) and suffixes[-1] == ".gz"
    kind = suffixes[-2 if packed else -1] if len(suffixes) > packed else ""
    if kind not in FORMATS or (packed and kind == ".parquet"):
        raise UserError(f"{path}: unknown format {path.suffix!r}; use one of {', '.join(FORMATS)} (text also with .gz)")
    if kind == ".parquet":
        yield from _parquet(path, source)
        return
    text = _read_text(path, packed)
    if kind == ".txt":
        yield from ((str(n), line, None) for n, line in enumerate(text.splitlines(), 1) if line.strip())
    elif kind == ".jsonl":
        yield from _jsonl(path, text, source)
    else:
        yield from _csv(path, text, source)


def _read_text(path: Path, packed: bool) -> str:
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if packed else data).decode("utf-8-sig")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: broken gzip ({error}); fetch or compress the file again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); correct its permissions") from None


def _jsonl(path: Path, text: str, source: Files) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg}); correct or remove the line") from None
        if not isinstance(value, dict):
            raise UserError(f"{path}, line {number}: must be a JSON object, it is {type(value).__name__}")
        for column in _columns(source):
            if column not in value:
                raise _missing(path, column, list(value), f", line {number}")
        label = value[source.label_column] if source.label_column else None
        yield str(number), value[source.text_column], label


def _csv(path: Path, text: str, source: Files) -> Iterator[Record]:
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = next(reader, None)
        if header is None:
            return
        places = {column: _place(path, column, header) for column in _columns(source)}
        for number, row in enumerate(reader, 1):
            if not row:
                continue
            if len(row) != len(header):
                raise UserError(
                    f"{path}, line {reader.line_num}: {len(row)} fields where the header has {len(header)}; "
                    "quote fields that hold commas, or correct the line"
                )
            label = row[places[source.label_column]] if source.label_column else None
            yield str(number), row[places[source.text_column]], label
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: not CSV ({error}); correct the line") from None


def _parquet(path: Path, source: Files) -> Iterator[Record]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        for column in _columns(source):
            _place(path, column, file.schema_arrow.names)
        number = 0
        for batch in file.iter_batches(columns=list(_columns(source))):
            texts = batch.column(source.text_column).to_pylist()
            labels = batch.column(source.label_column).to_pylist() if source.label_column else [None] * len(texts)
            for text, label in zip(texts, labels, strict=True):
                number += 1
                yield str(number), text, label
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); write it again") from None


def _columns(source: Files) -> dict[str, None]:
    return dict.fromkeys([source.text_column, *([source.label_column] if source.label_column else [])])


def _place(path: Path, column: str, columns: list[str]) -> int:
    if column not in columns:
        raise _missing(path, column, columns)
    return columns.index(column)


def _missing(path: Path, column: str, columns: list[str], place: str = "") -> UserError:
    return UserError(
        f"{path}{place}: no column {column!r}; it has {', '.join(columns) or 'none'}. "
        "Set text_column and label_column of the source"
    )
