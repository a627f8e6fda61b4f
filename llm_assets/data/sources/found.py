"""What every source gives: a stream of `Found`, gathered into Arrow record batches of documents and of rejects."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from llm_assets.artifacts import document_schema, rejected_schema
from llm_assets.data.rows import document_id

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 5000
BATCH_CHARACTERS = 16 * 2**20
SHOWN_CHARACTERS = 500  # of a rejected text


class Found(NamedTuple):
    """One thing that a source found: a document or, with a `reason`, what cannot be one.

    text: of a document a string (or None: the row is there, its text is not); of a reject what there is to show.
    id: only where the source names its rows itself; by default it follows from source and uri.
    source, licence, split: only where they differ from row to row. steps: what it went through in the source.
    """

    uri: str
    text: Any
    label: Any = None
    fetched_at: datetime | None = None
    reason: str | None = None
    detail: str | None = None
    id: str | None = None
    source: str | None = None
    licence: str | None = None
    split: str | None = None
    steps: tuple[str, ...] = ()


class Batch(NamedTuple):
    """Some rows of a source, in its order: `documents` (document schema) and `rejected` (rejected schema)."""

    documents: pa.RecordBatch
    rejected: pa.RecordBatch


def batches(
    found: Iterable[Found], *, source: str, licence: str, split: str | None = None, max_text_bytes: int | None = None
) -> Iterator[Batch]:
    """`found` as record batches of bounded size; a text that no document can hold becomes a reject."""
    documents: list[tuple[Any, ...]] = []
    rejected: list[tuple[Any, ...]] = []
    characters = 0
    for item in found:
        uri, text, label, fetched_at, reason, detail, name, own_source, own_licence, own_split, steps = item
        origin = own_source or source
        data = b""
        if reason is None:
            if isinstance(text, str):
                try:
                    data = text.encode()
                except UnicodeEncodeError as error:
                    reason, detail = "unicode", f"half of a surrogate pair at character {error.start}"
                else:
                    if max_text_bytes is not None and len(data) > max_text_bytes:
                        reason, detail = "too_large", f"{len(data):,} bytes, {max_text_bytes:,} allowed"
            elif text is not None:
                reason, detail = "type", f"the text is no string but of type {type(text).__name__}"
        if reason is None:
            if label is not None and not isinstance(label, str):
                if isinstance(label, dict | list):
                    reason, detail = "type", f"the label is of type {type(label).__name__}"
                label = str(label)
            if label is not None and (not label.strip() or not label.isprintable()):
                label = _plain(label).strip() or None
        shared = (label, own_split or split, origin, _plain(uri), own_licence or licence, fetched_at)
        if reason is None:
            digest = hashlib.sha256(data).hexdigest()[:16]
            documents.append((name or document_id(origin, uri), text, *shared, digest, steps))
            characters += len(data)
        else:
            shown = _plain(text if isinstance(text, str) else "" if text is None else repr(text)[:SHOWN_CHARACTERS])
            shown = shown[:SHOWN_CHARACTERS]
            digest = hashlib.sha256(shown.encode()).hexdigest()[:16]
            shared = (None, *shared[1:])
            said = (digest, steps, reason, _plain(detail or ""))
            rejected.append((name or document_id(origin, uri), shown, *shared, *said))
        if len(documents) + len(rejected) >= BATCH_ROWS or characters >= BATCH_CHARACTERS:
            yield _batch(documents, rejected)
            documents, rejected, characters = [], [], 0
    if documents or rejected:
        yield _batch(documents, rejected)


COLUMNS = (
    "id",
    "text",
    "label",
    "split",
    "source",
    "uri",
    "licence",
    "fetched_at",
    "content_hash",
    "steps",
    "reason",
    "detail",
)


def _batch(documents: list[tuple[Any, ...]], rejected: list[tuple[Any, ...]]) -> Batch:
    return Batch(_record_batch(documents, document_schema()), _record_batch(rejected, rejected_schema()))


def _record_batch(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    columns = dict(zip(COLUMNS, zip(*rows, strict=True), strict=False)) if rows else {}
    empty_lists: list[list[str]] = [[]] * len(rows)
    arrays = []
    for field in schema:
        if field.name == "parents" or not rows:
            arrays.append(pa.array(empty_lists, type=field.type))
        elif field.name in columns:
            arrays.append(pa.array(columns[field.name], type=field.type))
        else:
            arrays.append(pa.nulls(len(rows), type=field.type))
    return pa.record_batch(arrays, schema=schema)


def _plain(text: str) -> str:
    """`text` as UTF-8 can hold it, without NULs."""
    if text.isascii() and "\0" not in text:
        return text
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def parse_date(value: Any) -> datetime | None:
    """A date as sources record it: ISO 8601 text, seconds since 1970, date or datetime; UTC where it names no zone.

    Raises ValueError for anything else.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, UTC)
        except (OverflowError, OSError) as error:
            raise ValueError(str(error)) from None
    elif hasattr(value, "year") and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"a {type(value).__name__} is no date")
    try:
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError("outside of the years 1 to 9999") from None
