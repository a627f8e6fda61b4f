"""Rows of CSV and TSV files. A row that cannot be read is a reject, and reading goes on behind it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from llm_assets.data.sources.config import Files
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.streams import SHOWN_LINE, lines, utf8_chunks
from llm_assets.data.sources.tables import from_record, missing_column, named_columns, unreadable
from llm_assets.errors import UserError


def read_csv(path: Path, uri: str, source: Files, tabs: bool) -> Iterator[Found]:
    """Rows under a header line, or of the columns that the source names.

    A quote that does not close costs its own line: reading goes on at the next.
    """
    feed, delimiter, number = _Feed(path, source), "\t" if tabs else ",", 0
    quoted = not tabs if source.quotes is None else source.quotes

    def reader() -> Iterator[list[str]]:
        return csv.reader(
            feed, strict=True, delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
        )

    header, named = source.columns, named_columns(source)
    wanted = header if header and source.tidy else named
    places = _places(path, header, wanted) if header else []
    limit = csv.field_size_limit(source.max_row_bytes)
    try:
        rows = reader()
        while True:
            feed.taken.clear()
            try:
                row = next(rows, None)
            except csv.Error as error:
                first = feed.taken[0][0]
                if header is None:
                    raise UserError(f"{path}, line {first}: not CSV ({error}); correct the header") from None
                number += 1
                detail = f"line {first}: not CSV ({error})"
                if feed.line > first and not feed.retreat():
                    detail = f"lines {first} to {feed.line}: not CSV ({error})"
                yield unreadable(f"{uri}#{number}", feed.shown, "csv", detail)
                rows = reader()
                continue
            for line, content, reason, detail in feed.bad:
                number += 1
                yield unreadable(f"{uri}#{number}", content, reason, f"line {line}: {detail}")
            feed.bad.clear()
            if row is None:
                return
            if not row:
                continue
            if header is None:
                header, wanted = row, row if source.tidy else named
                places = _places(path, header, wanted)
                continue
            number += 1
            if len(row) == len(header):
                record = {name: row[n] for name, n in zip(wanted, places, strict=True)}
                yield from_record(f"{uri}#{number}", record, source)
            else:
                detail = f"line {feed.line}: {len(row)} fields where there are {len(header)} columns"
                shown = delimiter.join(row)[:SHOWN_LINE]
                yield Found(f"{uri}#{number}", shown, reason="ragged", detail=detail)
    finally:
        csv.field_size_limit(limit)


def _places(path: Path, header: list[str], wanted: list[str]) -> list[int]:
    for column in wanted:
        if column not in header:
            raise UserError(f"{path}: {missing_column([column], header)}")
        if header.count(column) > 1:
            raise UserError(f"{path}: column {column!r} is there twice; name each column once")
    return [header.index(column) for column in wanted]


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
