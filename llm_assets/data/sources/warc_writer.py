"""What a crawl fetched, as a WARC file (ISO 28500)."""

from __future__ import annotations

import io
import os
import threading
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

from llm_assets.data.sources.http import Answer


class WarcWriter:
    """Writes `NAME-TIME.warc.gz` in `folder`; visible only when the crawl is over."""

    def __init__(self, folder: Path, name: str) -> None:
        from warcio.warcwriter import WARCWriter

        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / f"{name}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.warc.gz"
        self._partial = folder / f"{self._path.name}.{os.getpid()}-{uuid.uuid4().hex[:8]}.partial"
        self._stream = self._partial.open("wb")
        self._writer = WARCWriter(self._stream, gzip=True)
        self._lock = threading.Lock()

    def write(self, answer: Answer) -> None:
        """One response record, its body as the server sent it (but not chunked)."""
        from warcio.statusandheaders import StatusAndHeaders

        reason = HTTPStatus(answer.status).phrase if answer.status in set(HTTPStatus) else ""
        headers = [(name, value) for name, value in answer.headers.items() if name != "transfer-encoding"]
        http = StatusAndHeaders(f"{answer.status} {reason}", headers, protocol="HTTP/1.1")
        with self._lock:
            self._writer.write_record(
                self._writer.create_warc_record(
                    answer.url, "response", payload=io.BytesIO(answer.raw), length=len(answer.raw), http_headers=http
                )
            )

    def keep(self) -> None:
        self._stream.close()
        self._partial.replace(self._path)

    def discard(self) -> None:
        self._stream.close()
        self._partial.unlink(missing_ok=True)
