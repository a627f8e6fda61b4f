"""The other end of the connection: it may leave, say how long it will wait, and need not wait for what comes after."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive

GONE = 499  # the status of a request whose client left, as the logs have it
# How long a client will wait, and the header's unit in seconds: Envoy's (and so Istio's) word for what it gives a
# request, and the official OpenAI clients' for how long they wait for the next byte, which is the whole reply where it
# is not streamed.
WHOLE, NEXT_BYTE = ("x-envoy-expected-rq-timeout-ms", 0.001), ("x-stainless-read-timeout", 1.0)
LONG = 8192  # bytes of a body
T = TypeVar("T")


class ClientGone(Exception):
    """Nobody is there to read the reply."""


async def unless_gone(receive: Receive, work: Awaitable[T]) -> T:
    """`work`; ended early, and ClientGone raised, when the client disconnects. The body must have been read."""
    here = asyncio.current_task()
    assert here
    gone, ended, wanted = False, False, here.cancelling()

    def leave(_: asyncio.Task[None]) -> None:
        nonlocal gone
        if not ended:  # where both end at once it is called later, and cannot be called off
            gone = True
            here.cancel()

    watch = asyncio.ensure_future(_disconnected(receive))
    watch.add_done_callback(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and here.uncancel() <= wanted:
            raise ClientGone from None
        raise
    finally:
        ended = True
        watch.cancel()


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def off_the_loop(request: Request, work: Callable[[], T]) -> T:
    """`work` on the request's texts, once its body is read: in a thread where they are long, so that nobody else waits
    for it, and not at all where the client has gone by then (ClientGone)."""
    size = int(request.headers.get("content-length", LONG))
    if size < LONG:
        return work()
    if await request.is_disconnected():
        raise ClientGone
    return await unless_gone(request.receive, asyncio.to_thread(work))


def once_sent(work: Callable[..., object], *given: object) -> None:
    """Call `work` when what was written to clients has been sent: uvloop does that once a turn of its loop is over."""
    asyncio.get_running_loop().call_soon(work, *given)


def patience(headers: Mapping[str, str], stream: bool, longest: float) -> float:
    """Seconds that the request may take: what its headers say, at most `longest`. What is no time is passed over."""
    found = [longest]
    for name, unit in (WHOLE,) if stream else (WHOLE, NEXT_BYTE):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds > 0:
            found.append(seconds)
    return min(found)
