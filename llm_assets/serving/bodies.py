"""Reading requests: bodies of a bounded size, and clients that leave."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from fastapi import Request

from llm_assets.serving.protocol import ApiError

GONE = 499  # the status of a request whose client left, as the log has it
T = TypeVar("T")


class ClientGone(Exception):
    """Nobody is there to read the reply."""


async def read_body(request: Request, limit: int) -> bytes:
    """The request's body; ApiError 413 as soon as it is too large, whatever its header says."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise ApiError(
                413,
                f"the body is larger than {limit} bytes",
                code="body_too_large",
                headers={"connection": "close"},
            )
    return bytes(body)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """`work`, ended early when the client disconnects."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.2)
            if not task.done() and await request.is_disconnected():
                raise ClientGone
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
