"""The way out: once the server is told to end, no new request comes in, and those that run end within a grace."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from llm_assets.serving.protocol import ApiError
from llm_assets.serving.replies import Reply

LAST_WORDS = 2.0  # seconds to tell the requests that are left


class Drain:
    """Counts what runs. `begun` once the server is to end."""

    def __init__(self) -> None:
        self.begun = False
        self._requests = 0
        self._replies: set[Reply] = set()
        self._idle = asyncio.Event()

    @contextmanager
    def request(self) -> Iterator[None]:
        """A request runs while this is open."""
        self._requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._requests -= 1
            if not self._requests:
                self._idle.set()

    @contextmanager
    def reply(self, reply: Reply) -> Iterator[None]:
        """A reply that is told when the grace is over."""
        self._replies.add(reply)
        try:
            yield
        finally:
            self._replies.discard(reply)

    def refusal(self) -> ApiError:
        wrong = "the server is shutting down"
        headers = {"retry-after": "1", "connection": "close"}
        return ApiError(503, wrong, "server_error", code="shutting_down", headers=headers)

    async def finish(self, grace: float) -> None:
        """Let nothing in; return when nothing runs, at the latest `grace` seconds and some last words later."""
        self.begun = True
        if not await self._until_idle(grace):
            for reply in self._replies:
                reply.events.put_nowait(self.refusal())
            await self._until_idle(LAST_WORDS)

    async def _until_idle(self, seconds: float) -> bool:
        if not self._requests:
            return True
        try:
            await asyncio.wait_for(self._idle.wait(), seconds)
        except TimeoutError:
            return False
        return True
