"""Texts from files: tables, plain text, Markdown, HTML and crawls; compressed or not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.openrefine.documents import history_state
from llm_assets.data.sources.config import Files
from llm_assets.data.sources.csv_rows import read_csv
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.html import Page, main_texts
from llm_assets.data.sources.paths import find_files, shown_path
from llm_assets.data.sources.streams import PACKED, SHOWN_LINE, chunks, lines, utf8_chunks
from llm_assets.data.sources.tables import read_json, read_jsonl, read_parquet
from llm_assets.data.sources.warc import read_warc
from llm_assets.errors import UserError

TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet")
FORMATS = (*TABLES, ".txt", ".md", ".html", ".htm", ".warc", ".wet")


def read_files(source: Files, root: Path, progress: Progress = no_progress) -> Iterator[Found]:
    """What the files hold, in their order; a file that holds nothing is a reject.

    The uri names the file as the recipe does, so that ids do not depend on where the project lies. Raises UserError
    for a file of which nothing can be trusted (broken packing, unknown format, unclear encoding).
    """
    paths = find_files(source, root)
    formats = {path: file_format(path) for path in paths}  # all are known before the first is read
    for path in paths if source.tidy else ():
        if formats[path] not in TABLES:
            raise UserError(f"{path}: no table, so `tidy` has nothing to do; it takes {', '.join(TABLES)}")
    done = 0
    for markup, group in groupby(paths, key=lambda path: formats[path] in (".html", ".htm")):
        files = list(group)
        if markup:
            for number, found in enumerate(_pages(files, source, root), 1):
                progress(done + number, len(paths), found.uri)
                yield found
        else:
            for number, path in enumerate(files):
                progress(done + number, len(paths), path.name)
                found = None
                for found in _read(path, formats[path], f"file://{shown_path(path, root)}", source):
                    yield found
                if found is None:
                    uri = f"file://{shown_path(path, root)}"
                    yield Found(uri, None, reason="empty_file", detail="holds no rows")
        done += len(files)
    progress(len(paths), len(paths), "")


def files_state(source: Files, root: Path) -> str:
    """Digest of the contents (known ones by size and time of change); the paths are in the recipe."""
    found = [file_digest(path) for path in find_files(source, root)]
    if source.tidy and source.tidy.openrefine:
        found.append(history_state(root / source.tidy.openrefine))
    return ",".join(found)


def file_digest(path: Path) -> str:
    stat = path.stat()
    return _digest(path, stat.st_size, stat.st_mtime_ns)


def file_format(path: Path) -> str:
    """`.csv` of `table.csv.gz`. Raises UserError for a format that is not read."""
    inner = Path(path.stem) if path.suffix in PACKED else path
    if inner.suffix not in FORMATS or (inner.suffix == ".parquet" and path.suffix in PACKED):
        raise UserError(
            f"{path}: unknown format {inner.suffix!r}; use one of {', '.join(FORMATS)} "
            f"(all but Parquet also with {', '.join(PACKED)})"
        )
    return inner.suffix


@lru_cache(maxsize=4096)
def _digest(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:24]


def _read(path: Path, kind: str, uri: str, source: Files) -> Iterator[Found]:
    if kind in (".jsonl", ".ndjson"):
        return read_jsonl(path, uri, source)
    if kind == ".json":
        return read_json(path, uri, source)
    if kind in (".csv", ".tsv"):
        return read_csv(path, uri, source, tabs=kind == ".tsv")
    if kind == ".parquet":
        return read_parquet(path, uri, source)
    if kind in (".warc", ".wet"):
        return read_warc(path, uri, source)
    return _whole(path, uri, source) if kind == ".md" or source.text_unit == "file" else _units(path, uri, source)


def _units(path: Path, uri: str, source: Files) -> Iterator[Found]:
    """Lines, or paragraphs, that are not empty; named by the number of their (first) line."""
    paragraph: list[str] = []
    first = size = 0
    for number, line, whole in lines(utf8_chunks(path, source), source.max_row_bytes):
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            shown = line[:SHOWN_LINE].decode("utf-8", "replace")
            if whole:
                yield Found(f"{uri}#{number}", shown, reason="encoding", detail=f"not UTF-8 (byte {error.start})")
                continue
            text = shown
        if b"\0" in line and whole:
            yield Found(f"{uri}#{number}", text, reason="nul", detail=f"a NUL at byte {line.index(0)}")
        elif not whole:
            detail = f"line {number}: longer than {source.max_row_bytes:,} bytes (max_row_bytes)"
            yield Found(f"{uri}#{number}", text, reason="too_large", detail=detail)
        elif source.text_unit == "line":
            if text.strip():
                yield Found(f"{uri}#{number}", text)
        elif text.strip() and size <= source.max_row_bytes:
            first = first if paragraph else number
            paragraph.append(text)
            size += len(line)
        elif paragraph:
            yield Found(f"{uri}#{first}", "\n".join(paragraph))
            paragraph, first, size = ([text], number, len(line)) if text.strip() else ([], 0, 0)
    if paragraph:
        yield Found(f"{uri}#{first}", "\n".join(paragraph))


def _whole(path: Path, uri: str, source: Files) -> Iterator[Found]:
    parts, size = [], 0
    for chunk in utf8_chunks(path, source):
        parts.append(chunk)
        size += len(chunk)
        if size > source.max_row_bytes:
            detail = f"more than {source.max_row_bytes:,} bytes (max_row_bytes)"
            yield Found(uri, parts[0][:SHOWN_LINE].decode("utf-8", "replace"), reason="too_large", detail=detail)
            return
    try:
        text = b"".join(parts).decode()
    except UnicodeDecodeError as error:
        yield Found(uri, None, reason="encoding", detail=f"not UTF-8 (byte {error.start})")
        return
    if "\0" in text:
        yield Found(uri, text, reason="nul", detail=f"a NUL at character {text.index(chr(0))}")
    elif text.strip():
        yield Found(uri, text)


def _pages(paths: list[Path], source: Files, root: Path) -> Iterator[Found]:
    def pages() -> Iterator[tuple[Found, Page]]:
        for path in paths:
            uri, parts, size = f"file://{shown_path(path, root)}", list[bytes](), 0
            for chunk in chunks(path, source):
                parts.append(chunk)
                size += len(chunk)
                if size > source.max_row_bytes:
                    break
            if size > source.max_row_bytes:
                detail = f"more than {source.max_row_bytes:,} bytes (max_row_bytes)"
                yield Found(uri, None, reason="too_large", detail=detail), Page(b"")
            elif not size:
                yield Found(uri, None, reason="empty_file", detail="holds no page"), Page(b"")
            else:
                yield Found(uri, None), Page(b"".join(parts))

    for found, extracted in main_texts(pages()):
        if found.reason:
            yield found
        elif extracted.text is None:
            yield found._replace(reason="no_text", detail=extracted.problem)
        else:
            yield found._replace(text=extracted.text)
