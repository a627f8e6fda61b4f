"""A client light enough to put a server under load from the same machine: one connection a request, no library."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waiting import until, within

from resources.endpoint import Endpoint


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def request_bytes(endpoint: Endpoint, path: str, body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {endpoint.api_key()}\r\n"
        f"content-type: application/json\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def post(endpoint: Endpoint, request: bytes) -> Answer:
    """One request over a connection of its own, and the whole answer (not chunked)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    try:
        async with within("the server answers"):
            writer.write(request)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            lines = (line.partition(":") for line in head[1:] if line)
            headers = {name.lower(): value.strip() for name, _, value in lines}
            return Answer(int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"])))
    finally:
        writer.close()


async def leave_after_first_bytes(endpoint: Endpoint, request: bytes) -> None:
    """Read the beginning of a stream, and go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(request)
    await writer.drain()
    async with within("the stream begins"):
        await reader.readuntil(b"data: ")
    writer.transport.abort()


async def leave_after_seconds(endpoint: Endpoint, request: bytes, seconds: float) -> None:
    """Send a request, and go after so long, whatever has become of it."""
    _, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(request)
    await writer.drain()
    await asyncio.sleep(seconds)
    writer.transport.abort()


async def leave_once(endpoint: Endpoint, request: bytes, under_way: Callable[[], bool]) -> None:
    """Send a request, and go before it is answered, once it is under way."""
    reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
    writer.write(request)
    await writer.drain()
    answer = asyncio.create_task(reader.readuntil(b"\r\n\r\n"))

    def left() -> bool:
        assert not answer.done() or b" 200 " in answer.result(), answer.result()
        return under_way()

    await asyncio.to_thread(until, left, "the request is under way")
    answer.cancel()
    writer.transport.abort()
