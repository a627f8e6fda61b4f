"""Pages of WARC files, and the texts of WET files (ISO 28500; Common Crawl's conventions)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_assets.data.sources.config import Files
from llm_assets.data.sources.found import Found, parse_date
from llm_assets.data.sources.html import MARKUP, Page, main_texts
from llm_assets.data.sources.streams import SHOWN_LINE, ChunkReader, chunks
from llm_assets.errors import UserError

NOTHING = Page(b"")


def read_warc(path: Path, uri: str, source: Files) -> Iterator[Found]:
    """One document per page or text. The uri is the page's own; `fetched_at` the time of the crawl.

    Requests, metadata and what describes the crawl are no documents and are passed over.
    """

    for found, extracted in main_texts(_records(path, uri, source)):
        if found.reason or found.text is not None:
            yield found
        elif extracted.text is None:
            yield found._replace(reason="no_text", detail=extracted.problem)
        else:
            yield found._replace(text=extracted.text)


def _records(path: Path, uri: str, source: Files) -> Iterator[tuple[Found, Page]]:
    """(document or reject, no page) of what is text already, (document without text, its page) of what is markup."""
    from warcio.archiveiterator import ArchiveIterator
    from warcio.exceptions import ArchiveLoadFailed

    stream = io.BufferedReader(ChunkReader(chunks(path, source)))
    count = 0
    try:
        for record in ArchiveIterator(stream):
            count += 1
            if record.rec_type in ("response", "resource", "conversion"):
                yield _document(record, f"{uri}#{count}", source)
    except (ArchiveLoadFailed, ValueError) as error:
        raise UserError(f"{path}: not a readable WARC file after record {count} ({error}); fetch it again") from None


def _document(record: Any, place: str, source: Files) -> tuple[Found, Page]:
    headers, http = record.rec_headers, record.http_headers
    try:
        date = parse_date(headers.get_header("WARC-Date"))
    except ValueError:
        date = None
    target = (headers.get_header("WARC-Target-URI") or "").strip("<> ")  # in WARC 1.0 it stands in angle brackets
    found = Found(target or place, None, fetched_at=date)
    status = http.get_statuscode() if http and record.rec_type == "response" else "200"
    if status != "200":
        return found._replace(reason=f"http_{status}", detail=f"{place}: status {status}"), NOTHING
    kind = (http or headers).get_header("Content-Type") or ""
    kind = kind.partition(";")[0].strip().lower()
    plain = kind.startswith("text/") and kind not in MARKUP
    if not plain and kind not in MARKUP:
        return found._replace(reason="content_type", detail=f"{place}: {kind or 'no content type'}"), NOTHING
    body = record.content_stream().read(source.max_row_bytes + 1)
    if len(body) > source.max_row_bytes:
        return found._replace(reason="too_large", detail=f"{place}: more than {source.max_row_bytes:,} bytes"), NOTHING
    if getattr(record.raw_stream, "limit", 0):
        return found._replace(reason="truncated", detail=f"{place}: shorter than its header says"), NOTHING
    if not plain:
        return found, Page(body)
    try:
        return found._replace(text=body.decode()), NOTHING
    except UnicodeDecodeError as error:
        shown = body[:SHOWN_LINE].decode("utf-8", "replace")
        return found._replace(text=shown, reason="encoding", detail=f"{place}: not UTF-8 ({error.reason})"), NOTHING
