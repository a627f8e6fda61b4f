"""Sorting what is larger than memory: sorted runs on disk, merged."""

from __future__ import annotations

import heapq
import tempfile
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from llm_assets.data.openrefine.spilled import dumps, loads

PIECE_BYTES = 2**16  # of a run that are in memory while it is merged, or one item
TOGETHER = 128  # runs that are merged at a time

Item = list[Any]  # of cell values and lists of them


class Runs:
    """Items wait in `folder` (by default TMPDIR), in files without a name. `merged` has all that was added in the order
    of their `key`, equal ones as they came. They are read back as lists: keys are compared as they are read."""

    def __init__(self, key: Callable[[Item], Any], folder: Path | None) -> None:
        self._key, self._folder = key, folder

    def __enter__(self) -> Runs:
        self._file, self._bounds = self._new(), [0]
        return self

    def add(self, items: Iterable[Item]) -> None:
        """A run; all of it is in memory."""
        self._write(sorted(items, key=self._key))

    def merged(self) -> Iterator[Item]:
        """All items, once; a few of each run are in memory."""
        while len(self._bounds) - 1 > TOGETHER:
            bounds, before = self._bounds, self._file
            self._file, self._bounds = self._new(), [0]
            with before:
                for first in range(0, len(bounds) - 1, TOGETHER):
                    self._write(self._merge(before, bounds[first : first + TOGETHER + 1]))
        return self._merge(self._file, self._bounds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _new(self) -> IO[bytes]:
        return tempfile.TemporaryFile(prefix="llm-assets-runs-", dir=self._folder)

    def _write(self, items: Iterable[Item]) -> None:
        self._file.writelines(dumps(item) + b"\n" for item in items)
        if (end := self._file.tell()) > self._bounds[-1]:
            self._bounds.append(end)

    def _merge(self, file: IO[bytes], bounds: list[int]) -> Iterator[Item]:
        runs = (_run(file, start, end) for start, end in pairwise(bounds))
        return heapq.merge(*runs, key=self._key)


def _run(file: IO[bytes], start: int, end: int) -> Iterator[Item]:
    while start < end:
        file.seek(start)
        lines = file.readlines(min(PIECE_BYTES, end - start - 1))  # up to the line with which they are more bytes
        start = file.tell()
        yield from map(loads, lines)
