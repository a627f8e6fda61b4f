"""Files of JSON lines that several processes append to, and that a kill at any moment leaves readable.

A line is one write under the file's lock, so a kill leaves at most one torn line. Readers take no lock and skip what is
no record; what is to be forgotten is overwritten with spaces, so that nobody's place in the file moves.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

Matches = Callable[[Mapping[str, Any]], bool]


@contextmanager
def locked(path: Path, flags: int = os.O_RDWR) -> Iterator[int]:
    """A handle of the file, which nobody else appends to, blanks or closes meanwhile. `os.fstat(handle).st_nlink` is 0
    when it was removed while we waited."""
    handle = os.open(path, flags, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # the kernel frees it when the process dies
        yield handle
    finally:
        os.close(handle)


def append(path: Path, record: Mapping[str, Any], closed: Callable[[], bool] = lambda: False) -> bool:
    """Append one record; False, and nothing is written, when the file was removed or `closed` meanwhile.

    Raises OSError when the disk is full, and then leaves the file as it was.
    """
    line = _line(record)
    with locked(path, os.O_RDWR | os.O_CREAT | os.O_APPEND) as handle:
        state = os.fstat(handle)
        if not state.st_nlink or closed():
            return False
        if state.st_size and os.pread(handle, 1, state.st_size - 1) != b"\n":
            line = b"\n" + line  # a kill tore the last line: it must not swallow this one
        if os.write(handle, line) < len(line):
            os.ftruncate(handle, state.st_size)
            raise OSError(f"no room for a record in {path}")
    return True


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate, say, which a reply of tokens can have
        return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass") + b"\n"


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records, in order. Raises FileNotFoundError."""
    with path.open("rb") as stream:
        for line in stream:
            if (record := parse(line)) is not None:
                yield record


def parse(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None for a torn or a foreign one."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def blank(path: Path, matches: Matches) -> list[dict[str, Any]]:
    """Overwrite the matching lines with spaces; their records. Raises FileNotFoundError.

    Most is looked at without the lock: whoever appends waits for the writing alone.
    """
    before = path.read_bytes()
    seen = before.rfind(b"\n") + 1
    found = list(_matching(before[:seen], 0, matches))
    with locked(path) as handle:
        size = os.fstat(handle).st_size
        if size < seen:
            return []  # another file has come in its place
        found += _matching(os.pread(handle, size - seen, seen), seen, matches)
        for place, line, _ in found:
            os.pwrite(handle, b" " * len(line), place)
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.fsync(handle)
    return [record for _, _, record in found]


def _matching(content: bytes, place: int, matches: Matches) -> Iterator[tuple[int, bytes, dict[str, Any]]]:
    """(place in the file, line without its end, record) of the lines of `content`, which begins at `place`."""
    for line in content.split(b"\n"):
        record = parse(line)
        if record is not None and matches(record):
            yield place, line, record
        place += len(line) + 1
