"""Rows on their way into a document table."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import document_schema

if TYPE_CHECKING:
    import pyarrow as pa


def text_hash(text: str) -> str:
    """Hash of a text, 16 hex digits: enough for 10^9 texts to be told apart with odds of 0.97."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def document_id(source: str, uri: str) -> str:
    """The same document has the same id in every run: it depends on where it is from, not on what it says."""
    return hashlib.sha256(f"{source}\n{uri}".encode("utf-8", "surrogatepass")).hexdigest()[:16]


def documents_table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows (dicts with any of the document columns) as a table of the document schema; what is absent is null."""
    import pyarrow as pa

    schema = document_schema()
    columns = {field.name: pa.array([row.get(field.name) for row in rows], type=field.type) for field in schema}
    return pa.table(columns, schema=schema)


def joined_licence(*licences: str | None) -> str | None:
    """The licence of a text made of several: theirs, by name."""
    return " AND ".join(sorted({licence for licence in licences if licence})) or None


def unique_ids(rows: list[dict[str, Any]]) -> None:
    """Two rows of one uri (a function defined twice) get ids of their own, in order."""
    seen: dict[str, int] = {}
    for row in rows:
        count = seen[row["id"]] = seen.get(row["id"], 0) + 1
        if count > 1:
            row["uri"] = f"{row['uri']}~{count}"
            row["id"] = document_id(row["source"], row["uri"])
