"""Connections: what comes over them before a request is one. uvicorn's parser bounds neither its size nor its time."""

from __future__ import annotations

import asyncio
import uuid
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llm_assets.serving.protocol import ApiError, json_text

HEAD_BYTES = 65_536  # of a request's line and headers, or of what lies between two pieces of a body
HEAD_SECONDS = 10.0  # for the head of a request, from its first byte, or from the connection's beginning

TOO_LARGE = ApiError(
    431, f"the request's line and headers are larger than {HEAD_BYTES} bytes", code="headers_too_large"
)
TOO_SLOW = ApiError(408, f"the request's line and headers did not come within {HEAD_SECONDS:g} s", code="too_slow")
NO_HTTP = ApiError(400, "this is no HTTP request that can be read", code="invalid_http")


class Connection(HttpToolsProtocol):
    """Refuses heads that are too large or take too long, and what is no HTTP, in OpenAI's shape."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._unparsed = 0  # bytes since the parser told the last event
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._unparsed += len(data)
        super().data_received(data)
        if self._unparsed > HEAD_BYTES:
            self._refuse(TOO_LARGE)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._timer is None:
            self._wait_for_head()

    def on_headers_complete(self) -> None:
        self._unparsed = 0
        self._stop_waiting()
        if len(self.url) + sum(len(name) + len(value) for name, value in self.headers) > HEAD_BYTES:
            self._refuse(TOO_LARGE)
            raise ValueError(TOO_LARGE.message)  # the parser goes no further
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._unparsed = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unparsed = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(NO_HTTP)

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        if self._unparsed:
            self._refuse(TOO_SLOW)
        else:
            self.transport.close()  # a connection that nothing came over

    def _refuse(self, error: ApiError) -> None:
        """Answer, unless a reply is under way, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            body = json_text(error.body()).encode()
            head = (
                f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\nx-request-id: req-{uuid.uuid4().hex}\r\n\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()
