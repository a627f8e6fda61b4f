"""Rows of a database that were fetched before: files under a folder that may be removed at any time."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

from llm_assets.artifacts import open_table

COLUMNS = ("key", "name", "text", "label", "date")
ROWS = 5000

Row = tuple[Any, ...]


class KeptRows:
    """Rows (key, name, text, label, date) by ascending key. Each `add` is one more file, there whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def greatest_key(self) -> Any:
        """None where nothing is kept."""
        keys = None
        for batch in self._batches(self._parts()[-1:], ["key"]):
            keys = batch["key"]
        return None if keys is None else _read(keys[-1].as_py())

    def add(self, rows: Iterator[Row]) -> None:
        """Keep the rows that are not kept already as they are."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = self._parts()
        known = self._with_key(_write(self.greatest_key())) if parts else set()
        fresh = (row for row in (tuple(_write(value) for value in row) for row in rows) if row not in known)
        schema = pa.schema([(name, pa.string()) for name in COLUMNS])
        name = f"{len(parts):06d}"
        partial = self._folder / f"{name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
        try:
            count = 0
            with pq.ParquetWriter(partial, schema, compression="zstd") as writer:
                while chunk := list(islice(fresh, ROWS)):
                    writer.write_batch(
                        pa.record_batch([pa.array(c, pa.string()) for c in zip(*chunk, strict=True)], schema)
                    )
                    count += len(chunk)
            if count:
                partial.replace(self._folder / f"{name}.parquet")
        finally:
            partial.unlink(missing_ok=True)

    def rows(self) -> Iterator[Row]:
        """All rows, of those with one name only the last kept."""
        parts = self._parts()
        last = {
            name: number
            for number, part in enumerate(parts[1:], 1)
            for batch in self._batches([part], ["name"])
            for name in batch["name"].to_pylist()
        }
        for number, part in enumerate(parts):
            for batch in self._batches([part], list(COLUMNS)):
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    if last.get(row[1], number) == number:
                        yield tuple(_read(value) for value in row)

    def _parts(self) -> list[Path]:
        return sorted(self._folder.glob("*.parquet"))

    def _with_key(self, key: str) -> set[Row]:
        import pyarrow.parquet as pq

        return {
            tuple(row[name] for name in COLUMNS)
            for part in self._parts()
            for row in pq.read_table(part, filters=[("key", "=", key)]).to_pylist()
        }

    def _batches(self, parts: list[Path], columns: list[str]) -> Iterator[Any]:
        for part in parts:
            yield from open_table(part).iter_batches(ROWS, columns=columns)


def _write(value: Any) -> str:
    """JSON, with the types that keys and dates have beside its own."""
    if isinstance(value, datetime | date):
        return json.dumps({type(value).__name__: value.isoformat()})
    if isinstance(value, Decimal):
        return json.dumps({"Decimal": str(value)})
    return json.dumps(value, default=lambda other: {"other": str(other)})


def _read(value: str) -> Any:
    found = json.loads(value)
    if not isinstance(found, dict) or len(found) != 1:
        return found
    ((kind, text),) = found.items()
    made: dict[str, Any] = {
        "datetime": datetime.fromisoformat,
        "date": date.fromisoformat,
        "Decimal": Decimal,
        "other": str,
    }
    return made[kind](text) if kind in made else found
