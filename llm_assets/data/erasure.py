"""What has been erased, and must not come back: ids, content hashes and sources, in the state folder's `erased.json`.

No text is kept. `llm-assets erase` writes it; raw documents leave out what it names, whatever the source.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import read_json, write_json

if TYPE_CHECKING:
    import pyarrow as pa

FILE = "erased.json"


@dataclass(frozen=True)
class Erased:
    """sources: names as rows have them, each also for the part before a colon (`python` for `python:numpy`)."""

    ids: frozenset[str] = frozenset()
    hashes: frozenset[str] = frozenset()
    sources: frozenset[str] = frozenset()

    def rest(self, rows: pa.RecordBatch) -> pa.RecordBatch:
        """Those of the rows (with id, content_hash and source) that have not been erased."""
        if not (self.ids or self.hashes or self.sources):
            return rows
        import pyarrow as pa
        import pyarrow.compute as pc

        def among(column: Any, values: frozenset[str]) -> Any:
            return pc.is_in(column, value_set=pa.array(sorted(values), pa.string()))

        kind = pc.replace_substring_regex(rows["source"], pattern=":.*", replacement="")
        gone = pc.or_(among(rows["id"], self.ids), among(rows["content_hash"], self.hashes))
        gone = pc.or_(gone, pc.or_(among(rows["source"], self.sources), among(kind, self.sources)))
        return rows.filter(pc.invert(gone))


def load_erased(home: Path) -> Erased:
    path = home / FILE
    if not path.is_file():
        return Erased()
    stored = read_json(path)
    return Erased(*(frozenset(stored[name]) for name in ("ids", "hashes", "sources")))


def add_erased(home: Path, ids: Iterable[str], hashes: Iterable[str], sources: Iterable[str]) -> Erased:
    """Add to the list; what is on it stays."""
    old = load_erased(home)
    new = Erased(old.ids | set(ids), old.hashes | set(hashes), old.sources | set(sources))
    if new != old:
        lists = {"ids": new.ids, "hashes": new.hashes, "sources": new.sources}
        write_json({name: sorted(values) for name, values in lists.items()}, home / FILE)
    return new


def erased_state(home: Path) -> str:
    """What changes when something is erased; empty while nothing is."""
    path = home / FILE
    return f";erased {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}" if path.is_file() else ""
