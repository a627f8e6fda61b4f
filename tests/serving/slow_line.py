"""A TCP line that lets little through at a time: what a slow network does to a reply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE, PAUSE = 256, 0.2  # bytes, and seconds between them


@contextmanager
def slow_line(port: int) -> Iterator[str]:
    """The address of a line to `port`: requests pass as they are, replies by `PIECE` bytes."""
    loop = asyncio.new_event_loop()

    async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, piece: int, pause: float) -> None:
        with suppress(OSError):
            while data := await source.read(piece):
                target.write(data)
                await target.drain()
                await asyncio.sleep(pause)
        target.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(carry(reader, back, 65536, 0), carry(there, writer, PIECE, PAUSE))

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(connect, "127.0.0.1", 0), loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
