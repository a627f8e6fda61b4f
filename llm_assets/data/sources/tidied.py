"""Rows of tables in standard forms, mended and without duplicates, before they become documents."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np

from llm_assets.data.openrefine.files import record_part, record_size
from llm_assets.data.openrefine.halves import NAMED, UNICODE, reject_halves, without_halves
from llm_assets.data.openrefine.table import PART_BYTES, Table
from llm_assets.data.openrefine.typed import Spool, packed
from llm_assets.data.openrefine.values import is_whole
from llm_assets.data.sources.config import Files
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.tables import document_of
from llm_assets.data.stored import Ahead, Stored, Storing, by_number
from llm_assets.data.tabular import StepReport, Tidied, reasons, tidy_rows

STEP = "tidy"
PART_ROWS = 5000


def tidied(found: Iterator[Found], source: Files, root: Path, home: Path, reports: list[StepReport]) -> Iterator[Found]:
    """The rows of `found` (whole records) as documents, after the steps of `source.tidy`, in their order.

    What the steps reject is a reject with their reason; a report of each goes to `reports`. What could not be read
    comes first. The rows wait in a folder of `home`: a date's order, a repair and a duplicate are judged by the whole
    table.
    """
    import pyarrow as pa

    assert source.tidy is not None
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tidy-", dir=home) as name:
        folder = Path(name)
        schema = pa.schema([("uri", pa.binary()), ("odd", pa.string())])
        with (
            Spool(folder / "parts") as spool,
            Storing(folder / "origins.arrow", schema) as origins,
            Storing(folder / "refused.arrow", reasons()) as refused,
        ):
            rows, characters, start = list[Found](), 0, 0
            for item in found:
                if item.reason:
                    yield item
                    continue
                rows.append(item)
                characters += record_size(item.text)
                if len(rows) == PART_ROWS or characters >= PART_BYTES:
                    _wait(rows, start, source, spool, origins, refused)
                    rows, characters, start = [], 0, start + len(rows)
            _wait(rows, start, source, spool, origins, refused)
        read = spool.stored(folder / "read.arrow")
        if origins.stored().rows:
            tidy = tidy_rows(read, source.tidy, root, folder, refused=refused.stored())
            reports += tidy.reports
            yield from _documents(origins.stored(), read, tidy, source, folder)


def _wait(rows: Sequence[Found], start: int, source: Files, spool: Spool, origins: Storing, refused: Storing) -> None:
    """Put rows aside, and beside each what it is called, and its text and label where they are no texts. `refused` is
    told of those with a text that no file can hold."""
    import pyarrow as pa

    marks, numbers = [False] * len(rows), range(start, start + len(rows))
    names = dict.fromkeys(name for row in rows for name in row.text)
    odd_names = {name for name in names if not is_whole(name)}
    part = record_part([row.text for row in rows], [name for name in names if name not in odd_names], start)
    part, halves = without_halves(Table(part.columns, marks, marks, list(numbers), start))
    spool.add(packed(part))
    if odd_names:
        halves |= {place: NAMED for place, row in enumerate(rows) if not odd_names.isdisjoint(row.text)}
    reject_halves(
        refused, UNICODE, [start + place for place in sorted(halves)], [halves[place] for place in sorted(halves)]
    )
    odd = []
    for row in rows:
        own = [row.text.get(column) for column in _taken(source)]
        odd.append(None if all(cell is None or isinstance(cell, str) for cell in own) else json.dumps(own, default=str))
    uris = [row.uri.encode("utf-8", "surrogatepass") for row in rows]
    batch = pa.record_batch([pa.array(uris, pa.binary()), pa.array(odd, pa.string())], names=["uri", "odd"])
    origins.add(np.array(numbers, dtype=np.int64), batch)


def _documents(origins: Stored, read: Stored, tidy: Tidied, source: Files, folder: Path) -> Iterator[Found]:
    """The rows as they were read, each with what became of it; all of them come by ascending number."""
    kept, gone = Ahead(by_number(tidy.kept, folder, origins.rows)), Ahead(tidy.gone)
    names = [name for name in dict.fromkeys(_taken(source)) if name in read.schema.names]
    for (numbers, origin), raw in zip(origins.batches(), read.batches(names) if names else repeat(None), strict=False):
        end = int(numbers[-1]) + 1
        after, said = _by_number(*kept.until(end)), _by_number(*gone.until(end))
        blank: list[Any] = [None] * len(numbers)
        columns = [raw[1][name].to_pylist() if raw and name in names else blank for name in _taken(source)]
        uris, odd = origin["uri"].to_pylist(), origin["odd"].to_pylist()
        for number, uri, other, *own in zip(numbers.tolist(), uris, odd, *columns, strict=True):
            before = own if other is None else json.loads(other)
            name = uri.decode("utf-8", "surrogatepass")
            if number in said:
                steps = () if said[number]["reason"] == UNICODE else (STEP,)  # that row was bad before
                yield Found(name, before[0], steps=steps, **said[number])
                continue
            row = after.get(number, {})
            document = document_of(name, row, source)
            changed = any(
                (cell or None) != (row.get(column) or None) for cell, column in zip(before, _taken(source), strict=True)
            )
            yield document._replace(steps=(STEP,)) if changed else document


def _by_number(numbers: np.ndarray, rows: Any) -> dict[int, dict[str, Any]]:
    return dict(zip(numbers.tolist(), rows.to_pylist(), strict=False))


def _taken(source: Files) -> tuple[str, str]:
    """The columns of text and label; where there are no labels, the text's twice."""
    return source.text_column, source.label_column or source.text_column
