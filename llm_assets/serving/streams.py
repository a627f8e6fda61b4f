"""Replies as server-sent events."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import orjson
from fastapi.responses import Response

from llm_assets.serving import wire
from llm_assets.serving.clients import GONE, ClientGone, unless_gone
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.replies import Reply
from llm_assets.serving.rows import Piece
from llm_assets.serving.service import Service

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

log = logging.getLogger(__name__)
DONE = b"data: [DONE]\n\n"
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


class EventStream(Response):
    """A reply's pieces as they come. An error on the way is the last event: `data: {"error": …}`, and no [DONE]."""

    media_type = "text/event-stream"

    def __init__(
        self, service: Service, reply: Reply, pieces: AsyncIterator[Piece], usage: bool, ended: Callable[[int], None]
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._service, self._reply, self._pieces, self._usage, self._ended = service, reply, pieces, usage, ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = GONE
        try:
            with self._service.drain.reply(self._reply):
                status = await unless_gone(receive, self._write(send))
        except ClientGone:
            pass
        finally:
            self._ended(status)

    async def _write(self, send: Send) -> int:
        """The reply's status, which the client has seen as 200 by then."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def write(body: bytes, more: bool) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": more})

        try:
            async for events in self._events():
                await write(events, more=not events.endswith(DONE))
        except Exception as error:
            if not isinstance(error, ApiError):
                log.exception("the stream of %s failed", self._reply.id)
                error = ApiError(500, "an error of the server", "server_error", code="internal_error")
            await write(sse(error.body()), more=False)
            return error.status
        return 200

    async def _events(self) -> AsyncIterator[bytes]:
        """The events, as many at a time as there are to tell: a write costs more than an event."""
        reply = self._reply
        extra = {"usage": None} if self._usage else {}
        tellers = [wire.Teller(reply) for _ in reply.choices]
        left, events = len(reply.choices), b""
        async with aclosing(self._pieces) as pieces:  # type: ignore[type-var]
            for index in range(left):
                if reply.kind == "chat":
                    yield sse(wire.chunk(reply, index, None) | extra)
                elif echo := reply.echo(index):
                    yield sse(wire.chunk(reply, index, echo) | extra)
            async for piece in pieces:
                logprobs = tellers[piece.index].tell(piece.logprobs)
                if piece.text:
                    events += sse(wire.chunk(reply, piece.index, piece.text, None, logprobs) | extra)
                    logprobs = None
                if piece.finish:
                    events += sse(wire.chunk(reply, piece.index, "", piece.finish, logprobs) | extra)
                    left -= 1
                if left and events:
                    yield events
                    events = b""
        usage = sse(wire.usage_chunk(reply)) if self._usage else b""
        yield events + usage + DONE


def sse(value: Any) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"
