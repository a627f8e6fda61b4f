"""Rows of JSON lines, JSON and Parquet files. A row that cannot be read is a reject, with its reason."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_assets.artifacts import open_table
from llm_assets.data.sources.config import Columns, Files
from llm_assets.data.sources.found import Found, parse_date
from llm_assets.data.sources.streams import SHOWN_LINE, lines, utf8_chunks
from llm_assets.errors import UserError

SPACE = re.compile(r"[ \t\r\n]*")


def read_jsonl(path: Path, uri: str, source: Files) -> Iterator[Found]:
    """One object a line."""
    import orjson

    text_column, label_column, date_column = source.text_column, source.label_column, source.date_column
    wanted = [] if source.tidy else named_columns(source)
    marks = [json.dumps(column).encode() for column in wanted]
    for number, line, whole in lines(utf8_chunks(path, source), source.max_row_bytes):
        place = f"{uri}#{number}"
        if not whole:
            yield _too_long(place, line, number, source)
            continue
        try:
            value = orjson.loads(line)
            if any(line.count(mark) != 1 for mark in marks):  # a column twice, or a text that looks like one
                value = _strict(line)
        except ValueError:
            if not line.strip():
                continue
            try:
                value = _strict(line)  # knows NaN, and says more exactly what is wrong
            except UnicodeDecodeError as error:
                yield unreadable(place, line, "encoding", f"line {number}: not UTF-8 (byte {error.start})")
                continue
            except RecursionError:
                yield unreadable(place, line, "json", f"line {number}: nested too deeply")
                continue
            except json.JSONDecodeError as error:
                yield unreadable(place, line, "json", f"line {number}: not JSON ({error.msg})")
                continue
            except ValueError as error:  # twice the same key, or a number with thousands of digits
                yield unreadable(place, line, "json", f"line {number}: {error}")
                continue
        if type(value) is not dict:
            yield unreadable(place, line, "json", f"line {number}: must be a JSON object, it is {type(value).__name__}")
        elif source.tidy:
            yield from_record(place, value, source)
        elif text_column not in value or (label_column or text_column) not in value:
            yield unreadable(place, line, "column", f"line {number}: {missing_column(wanted, list(value))}")
        elif date_column is not None:
            yield from_record(place, value, source)
        else:
            yield Found(place, value[text_column], value[label_column] if label_column else None)


def read_json(path: Path, uri: str, source: Files) -> Iterator[Found]:
    """An array of objects, read one by one, or one object. Raises UserError where it is broken: the rest is lost."""
    decoder = json.JSONDecoder(object_pairs_hook=_once)
    stream, text, at, number, array, end = _characters(path, source), "", 0, 0, False, False
    while True:
        at = _space(text, at)
        if number == 0 and not array and text[at : at + 1] == "[":
            array, at = True, at + 1
            continue
        if array and number and text[at : at + 1] == ",":
            at = _space(text, at + 1)
        if array and text[at : at + 1] == "]":
            return
        problem = "it ends before its last object does"
        if at < len(text):
            if text[at] != "{" and not array:
                raise UserError(f"{path}: must be an array of objects, or one object; correct the file")
            try:
                value, stop = decoder.raw_decode(text, at)
                if stop < len(text) or end:  # a number at the very end might go on
                    number += 1
                    yield _member(f"{uri}#{number}", value, number, source)
                    if not array:
                        return
                    at = stop
                    continue
            except json.JSONDecodeError as error:
                problem = f"object {number + 1}: not JSON ({error.msg})"
            except RecursionError:
                raise UserError(f"{path}: object {number + 1} is nested too deeply; correct the file") from None
            except ValueError as error:
                raise UserError(f"{path}: object {number + 1}: {error}; correct the file") from None
        if end and (array or at < len(text)):
            raise UserError(f"{path}: {problem}; correct the file")
        if end:
            return
        if len(text) - at > source.max_row_bytes:
            raise UserError(
                f"{path}: object {number + 1} is longer than {source.max_row_bytes:,} bytes, or broken ({problem}); "
                "correct the file, or raise max_row_bytes"
            )
        more = next(stream, None)
        end = more is None
        text, at = text[at:] + (more or ""), 0


def read_parquet(path: Path, uri: str, source: Files) -> Iterator[Found]:
    """Rows of a Parquet file, a record batch at a time."""
    import pyarrow as pa

    number = 0
    try:
        file = open_table(path)
        names = file.schema_arrow.names
        wanted = names if source.tidy else named_columns(source)
        for column in wanted:
            if column not in names:
                raise UserError(f"{path}: {missing_column([column], names)}")
        for batch in file.iter_batches(batch_size=5000, columns=wanted):
            for values in zip(*(batch.column(column).to_pylist() for column in wanted), strict=True):
                number += 1
                yield from_record(f"{uri}#{number}", dict(zip(wanted, values, strict=True)), source)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); write it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: a column of text that is not UTF-8 after row {number} ({error.reason})") from None


def from_record(uri: str, record: Mapping[str, Any], source: Columns) -> Found:
    """The columns that a source names, of one row; the whole row as it is where `tidy` is still to look at it."""
    if isinstance(source, Files) and source.tidy:
        return Found(uri, record)
    return document_of(uri, record, source)


def document_of(uri: str, record: Mapping[str, Any], source: Columns) -> Found:
    """The columns that a source names, of one row."""
    try:
        text = record[source.text_column]
        label = record[source.label_column] if source.label_column else None
        date = record[source.date_column] if source.date_column else None
    except KeyError:
        return Found(
            uri, str(record)[:SHOWN_LINE], reason="column", detail=missing_column(named_columns(source), list(record))
        )
    try:
        return Found(uri, text, label, None if date is None else parse_date(date))
    except ValueError as error:
        return Found(uri, text, reason="date", detail=f"{source.date_column}: {error}")


def named_columns(source: Columns) -> list[str]:
    named = (source.text_column, source.label_column, source.date_column)
    return list(dict.fromkeys(column for column in named if column))


def missing_column(wanted: Sequence[str], columns: list[str]) -> str:
    column = next(column for column in wanted if column not in columns)
    shown = ", ".join(str(name) for name in columns[:30]) or "none"
    return f"no column {column!r}; it has {shown}. Set text_column, label_column and date_column of the source"


def _strict(line: bytes) -> Any:
    return json.loads(line.decode(), object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def unreadable(uri: str, raw: bytes, reason: str, detail: str) -> Found:
    return Found(uri, raw[:SHOWN_LINE].decode("utf-8", "replace"), reason=reason, detail=detail)


def _too_long(uri: str, start: bytes, number: int, source: Files) -> Found:
    return unreadable(
        uri, start, "too_large", f"line {number}: longer than {source.max_row_bytes:,} bytes (max_row_bytes)"
    )


def _member(uri: str, value: Any, number: int, source: Files) -> Found:
    if isinstance(value, dict):
        return from_record(uri, value, source)
    kind = type(value).__name__
    return Found(
        uri, str(value)[:SHOWN_LINE], reason="json", detail=f"object {number}: must be an object, it is {kind}"
    )


def _characters(path: Path, source: Files) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for chunk in utf8_chunks(path, source):
            yield decoder.decode(chunk)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason}); save it as UTF-8, or set `encoding`") from None


def _space(text: str, at: int) -> int:
    found = SPACE.match(text, at)
    return found.end() if found else at
