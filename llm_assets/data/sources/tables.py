"""Rows of JSON lines, JSON, CSV and Parquet files. A row that cannot be read is a reject, with its reason."""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_assets.data.sources.config import Columns, Files
from llm_assets.data.sources.found import Found, parse_date
from llm_assets.data.sources.streams import SHOWN_LINE, lines, utf8_chunks
from llm_assets.errors import UserError

SPACE = re.compile(r"[ \t\r\n]*")


def read_jsonl(path: Path, uri: str, source: Files) -> Iterator[Found]:
    """One object a line."""
    import orjson

    text_column, label_column, date_column = source.text_column, source.label_column, source.date_column
    wanted = _columns(source)
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
                yield _reject(place, line, "encoding", f"line {number}: not UTF-8 (byte {error.start})")
                continue
            except RecursionError:
                yield _reject(place, line, "json", f"line {number}: nested too deeply")
                continue
            except json.JSONDecodeError as error:
                yield _reject(place, line, "json", f"line {number}: not JSON ({error.msg})")
                continue
            except ValueError as error:  # twice the same key, or a number with thousands of digits
                yield _reject(place, line, "json", f"line {number}: {error}")
                continue
        if type(value) is not dict:
            yield _reject(place, line, "json", f"line {number}: must be a JSON object, it is {type(value).__name__}")
        elif text_column not in value or (label_column or text_column) not in value:
            yield _reject(place, line, "column", f"line {number}: {_missing(wanted, list(value))}")
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


def read_csv(path: Path, uri: str, source: Files, delimiter: str) -> Iterator[Found]:
    """Rows under a header. A quote that does not close costs its own line: reading goes on at the next."""
    feed = _Feed(path, source)
    limit = csv.field_size_limit(source.max_row_bytes)
    try:
        reader = csv.reader(feed, strict=True, delimiter=delimiter)
        header, wanted, number = None, _columns(source), 0
        places: list[int] = []
        while True:
            feed.taken.clear()
            try:
                row = next(reader)
            except StopIteration:
                row = None
            except csv.Error as error:
                first = feed.taken[0][0]
                if header is None:
                    raise UserError(f"{path}, line {first}: not CSV ({error}); correct the header") from None
                number += 1
                detail = f"line {first}: not CSV ({error})"
                if feed.line > first and not feed.retreat():
                    detail = f"lines {first} to {feed.line}: not CSV ({error})"
                yield _reject(f"{uri}#{number}", feed.shown, "csv", detail)
                reader = csv.reader(feed, strict=True, delimiter=delimiter)
                continue
            for line, content, reason, detail in feed.bad:
                number += 1
                yield _reject(f"{uri}#{number}", content, reason, f"line {line}: {detail}")
            feed.bad.clear()
            if row is None:
                return
            if not row:
                continue
            if header is None:
                header = row
                for column in wanted:
                    if header.count(column) != 1:
                        raise UserError(
                            f"{path}: {_missing([column], header) if column not in header else _twice(column)}"
                        )
                places = [header.index(column) for column in wanted]
                continue
            number += 1
            place = f"{uri}#{number}"
            if len(row) != len(header):
                detail = (
                    f"line {feed.line}: {len(row)} fields where the header has {len(header)}; quote fields that hold "
                    f"{delimiter!r}"
                )
                yield Found(place, delimiter.join(row)[:SHOWN_LINE], reason="ragged", detail=detail)
            else:
                yield from_record(place, {name: row[n] for name, n in zip(wanted, places, strict=True)}, source)
    finally:
        csv.field_size_limit(limit)


class _Feed:
    """Lines of a file for the csv module, which can be taken back when a quote was left open.

    Lines are taken back at most as often as there are lines, so that reading stays linear.
    """

    def __init__(self, path: Path, source: Files) -> None:
        self._lines = lines(utf8_chunks(path, source), source.max_row_bytes)
        self._again: list[tuple[int, bytes]] = []
        self._allowance = 1000
        self.line = 0
        self.shown = b""
        self.taken: list[tuple[int, bytes]] = []
        self.bad: list[tuple[int, bytes, str, str]] = []

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        while True:
            if self._again:
                number, data = self._again.pop()
                whole = True
            else:
                number, data, whole = next(self._lines)
                self._allowance += 1
            self.line = number
            if not whole:
                self.bad.append((number, data, "too_large", "longer than max_row_bytes"))
            elif b"\0" in data:
                self.bad.append((number, data, "nul", f"a NUL at byte {data.index(0)}"))
            else:
                try:
                    text = data.decode()
                except UnicodeDecodeError as error:
                    self.bad.append((number, data, "encoding", f"not UTF-8 (byte {error.start})"))
                else:
                    if not self.taken:
                        self.shown = data
                    self.taken.append((number, data))
                    return text + "\n"

    def retreat(self) -> bool:
        """Give back all lines of the row but its first; False when that has been done too often."""
        back = self.taken[1:]
        if len(back) > self._allowance:
            return False
        self._allowance -= len(back)
        self._again += reversed(back)
        self.line = self.taken[0][0]
        return True


def read_parquet(path: Path, uri: str, source: Files) -> Iterator[Found]:
    """Rows of a Parquet file, a record batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted, number = _columns(source), 0
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        for column in wanted:
            if column not in names:
                raise UserError(f"{path}: {_missing([column], names)}")
        for batch in file.iter_batches(batch_size=5000, columns=wanted):
            for values in zip(*(batch.column(column).to_pylist() for column in wanted), strict=True):
                number += 1
                yield from_record(f"{uri}#{number}", dict(zip(wanted, values, strict=True)), source)
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({error}); write it again") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: a column of text that is not UTF-8 after row {number} ({error.reason})") from None


def from_record(uri: str, record: Mapping[str, Any], source: Columns) -> Found:
    """The columns that a source names, of one row."""
    try:
        text = record[source.text_column]
        label = record[source.label_column] if source.label_column else None
        date = record[source.date_column] if source.date_column else None
    except KeyError:
        return Found(uri, str(record)[:SHOWN_LINE], reason="column", detail=_missing(_columns(source), list(record)))
    try:
        return Found(uri, text, label, None if date is None else parse_date(date))
    except ValueError as error:
        return Found(uri, text, reason="date", detail=f"{source.date_column}: {error}")


def _columns(source: Columns) -> list[str]:
    named = (source.text_column, source.label_column, source.date_column)
    return list(dict.fromkeys(column for column in named if column))


def _missing(wanted: Sequence[str], columns: list[str]) -> str:
    column = next(column for column in wanted if column not in columns)
    shown = ", ".join(str(name) for name in columns[:30]) or "none"
    return f"no column {column!r}; it has {shown}. Set text_column, label_column and date_column of the source"


def _twice(column: str) -> str:
    return f"column {column!r} is there twice; name each column once"


def _strict(line: bytes) -> Any:
    return json.loads(line.decode(), object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice[:80]!r} is there twice")
    return found


def _reject(uri: str, raw: bytes, reason: str, detail: str) -> Found:
    return Found(uri, raw[:SHOWN_LINE].decode("utf-8", "replace"), reason=reason, detail=detail)


def _too_long(uri: str, start: bytes, number: int, source: Files) -> Found:
    return _reject(
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
