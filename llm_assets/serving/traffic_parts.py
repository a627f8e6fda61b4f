"""The files of the traffic log: parts, each of one kind and day.

The part being written is JSON lines, `traffic/[feedback-|probes-]YYYY-MM-DD[.n].jsonl`. A closed one (of an earlier
day, or one that is full) becomes Parquet under the same name. The Parquet file appears whole and on the disk, and from
then on it is the part: JSON lines of the same name that a kill left beside it are not read, and go the next time.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.serving.append_log import Matches, blank, locked, parse, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

REQUESTS, PROBES, FEEDBACK = "", "probes-", "feedback-"
KINDS = (REQUESTS, PROBES, FEEDBACK)  # feedback last: it is about requests
TYPES: dict[str, tuple[type, ...]] = {
    "id": (str,), "at": (str,), "model": (str,), "task": (str,), "text": (str,), "reply": (str,),
    "prompt_tokens": (int,), "completion_tokens": (int,), "latency_ms": (float, int), "ttft_ms": (float, int),
    "status": (int,), "finish_reason": (str,), "cached": (bool,), "digest": (str,),
}  # fmt: skip
FEEDBACK_TYPES: dict[str, tuple[type, ...]] = {"id": (str,), "at": (str,), "rating": (str,), "correction": (str,)}
REST = "rest"  # what a record has beyond the columns, as JSON
LOG_BYTES = b"log_bytes"  # how large the JSON lines were: the log's state is the same before and after
BATCH = 200  # records turned to Arrow at once: requests are served between two batches
ROW_GROUP = 20_000
_STEM = re.compile(r"(probes-|feedback-|)(\d{4}-\d\d-\d\d)(?:\.(\d+))?")


@dataclass(frozen=True, order=True)
class Part:
    day: str
    number: int
    kind: str
    folder: Path

    @cached_property
    def stem(self) -> str:
        return f"{self.kind}{self.day}" + (f".{self.number}" if self.number else "")

    @cached_property
    def log(self) -> Path:
        return self.folder / f"{self.stem}.jsonl"

    @cached_property
    def table(self) -> Path:
        return self.folder / f"{self.stem}.parquet"

    @cached_property
    def partial(self) -> Path:
        return self.folder / f"{self.stem}.parquet.partial"


def parts(folder: Path, kind: str) -> list[Part]:
    """The parts of one kind, oldest first."""
    found = set()
    # Twice: a name that changes while a folder is read may be seen neither before nor after.
    for path in [*folder.glob(f"{kind}[0-9]*"), *folder.glob(f"{kind}[0-9]*")]:
        stem = _STEM.fullmatch(path.name.removesuffix(".jsonl").removesuffix(".parquet"))
        if stem and stem[1] == kind and path.suffix in (".jsonl", ".parquet"):
            found.add(Part(stem[2], int(stem[3] or 0), kind, folder))
    return sorted(found)


def records(part: Part) -> list[dict[str, Any]]:
    """All records of a part, in the order they were written; none of one that was removed meanwhile."""
    if not part.table.exists():
        try:
            return [record for record in read_lines(part.log) if isinstance(record.get("id"), str)]
        except FileNotFoundError:
            pass  # it has become Parquet a moment ago
    try:
        return _from_table(part.table)
    except FileNotFoundError:
        return []


def find(folder: Path, kind: str, name: str) -> dict[str, Any] | None:
    """The record with this id; None when there is none."""
    mark = json.dumps(name).encode()
    for part in reversed(parts(folder, kind)):
        if not part.table.exists():
            try:
                lines = part.log.read_bytes().splitlines() if part.log.stat().st_size else []
            except FileNotFoundError:
                lines = []
            for line in lines:
                if mark in line and (record := parse(line)) and record.get("id") == name:
                    return record
        if part.table.exists() and (rows := _from_table(part.table, name)):
            return rows[0]
    return None


def state(part: Part) -> str:
    """A text that changes with every record written, and not when the part becomes Parquet."""
    import pyarrow.parquet as pq

    if not part.table.exists():
        try:
            return f"{part.stem} {part.log.stat().st_size}"
        except FileNotFoundError:
            pass
    try:
        return f"{part.stem} {(pq.read_schema(part.table).metadata or {})[LOG_BYTES].decode()}"
    except FileNotFoundError:
        return ""


def to_parquet(part: Part) -> None:
    """Make a closed part Parquet (zstd), or remove it when nothing is in it. A kill at any moment loses and doubles
    nothing."""
    try:
        with locked(part.log) as handle:
            if not os.fstat(handle).st_nlink:
                return
            if not part.table.exists() and (found := records(part)):
                _write(part, _to_table(part.kind, found), os.fstat(handle).st_size)
            part.log.unlink()
    except FileNotFoundError:
        return


def scrub(part: Part, matches: Matches) -> set[str]:
    """Take matching records out of a part, while it is written or becomes Parquet; their ids."""
    gone: list[dict[str, Any]] = []
    try:
        gone += blank(part.log, matches)
        with locked(part.log):
            part.partial.unlink(missing_ok=True)  # a conversion that was killed
    except FileNotFoundError:
        pass
    if part.table.exists():
        found = _from_table(part.table)
        kept = [record for record in found if not matches(record)]
        gone += [record for record in found if matches(record)]
        if len(kept) < len(found):
            _write(part, _to_table(part.kind, kept), int(state(part).rpartition(" ")[2]))
    return {str(record.get("id")) for record in gone}


def keep_within(folder: Path, today: str, oldest: str, total: int) -> None:
    """Remove the oldest parts until all take at most `total` bytes and none is of a day before `oldest`; never the ones
    being written."""
    all_parts = sorted(part for kind in KINDS for part in parts(folder, kind))
    open_parts = {found[-1] for kind in KINDS if (found := parts(folder, kind)) and found[-1].day >= today}
    sizes = {part: _size(part) for part in all_parts}
    used = sum(sizes.values())
    for part in all_parts:
        if part not in open_parts and (part.day < oldest or used > total):
            used -= sizes[part]
            part.log.unlink(missing_ok=True)
            part.table.unlink(missing_ok=True)
            part.partial.unlink(missing_ok=True)


def _size(part: Part) -> int:
    return sum(path.stat().st_size for path in (part.log, part.table) if path.exists())


def _to_table(kind: str, found: Sequence[Mapping[str, Any]]) -> pa.Table:
    import pyarrow as pa

    types = FEEDBACK_TYPES if kind == FEEDBACK else TYPES
    arrow = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, arrow[allowed[0]]) for name, allowed in types.items()] + [(REST, pa.string())])
    batches = [
        pa.RecordBatch.from_pylist([_row(record, types) for record in found[at : at + BATCH]], schema=schema)
        for at in range(0, len(found), BATCH)
    ]
    return pa.Table.from_batches(batches, schema=schema)


def _row(record: Mapping[str, Any], types: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    row = {name: value for name, value in record.items() if _fits(value, types.get(name, ()))}
    rest = {name: value for name, value in record.items() if name not in row and value is not None}
    return row | {REST: json.dumps(rest) if rest else None}


def _fits(value: Any, allowed: tuple[type, ...]) -> bool:
    if type(value) not in allowed:
        return False
    if isinstance(value, str) and not value.isascii():
        return not any("\ud800" <= character <= "\udfff" for character in value)  # half a pair is no UTF-8
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _from_table(path: Path, name: str | None = None) -> list[dict[str, Any]]:
    """The records of a Parquet part, or only those with the id `name`."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return [
            row | (json.loads(rest) if rest else {})
            for batch in _batches(file, name)
            for row in batch.to_pylist()
            for rest in [row.pop(REST)]
        ]


def _batches(file: Any, name: str | None) -> Iterator[pa.RecordBatch]:
    import pyarrow.compute as pc

    for group in range(file.num_row_groups):
        if name is not None and not pc.any(pc.equal(file.read_row_group(group, ["id"])["id"], name)).as_py():
            continue
        table = file.read_row_group(group)
        yield from (table if name is None else table.filter(pc.equal(table["id"], name))).to_batches()


def _write(part: Part, table: pa.Table, log_bytes: int) -> None:
    import pyarrow.parquet as pq

    with part.partial.open("wb") as stream:
        part.partial.chmod(0o600)
        kept = table.replace_schema_metadata({LOG_BYTES: str(log_bytes)})
        pq.write_table(kept, stream, compression="zstd", row_group_size=ROW_GROUP)
        stream.flush()
        os.fsync(stream.fileno())
    part.partial.replace(part.table)
    folder = os.open(part.folder, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name is on the disk before the JSON lines go
    finally:
        os.close(folder)
