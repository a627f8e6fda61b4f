"""Waiting that ends: for what does not come, the test fails and says what that was."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

LONG = 120.0  # seconds: far more than anything waited for takes on a slow machine


def until(holds: Callable[[], object], what: str, seconds: float = LONG, pause: float = 0.001) -> None:
    """Returns once `holds()` is true."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, f"not within {seconds:g} s: {what}"
        time.sleep(pause)


@asynccontextmanager
async def within(what: str, seconds: float = LONG) -> AsyncIterator[None]:
    """What is awaited inside is given so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise AssertionError(f"not within {seconds:g} s: {what}") from None
