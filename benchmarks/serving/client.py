"""The closed loop over HTTP: OpenAI's /v1/completions, streamed.

One thread reads all connections and parses nothing while the clock runs, so that the clients take as little as possible
of the machine that they measure.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from .workload import NEW_TOKENS, Sample

SECONDS = 300  # without a byte from any connection


class Exchange:
    """One greedy request of exactly `max_tokens` (NEW_TOKENS) tokens, over a connection of its own, as not every server
    keeps one."""

    def __init__(self, url: str, prompt: list[int], body: dict[str, Any], headers: dict[str, str]) -> None:
        asked: dict[str, Any] = {
            "prompt": prompt,
            "max_tokens": NEW_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            **body,
        }
        asked["stream_options"] = {"include_usage": True}
        self._wanted = int(asked["max_tokens"])
        address, content = urlsplit(url), json.dumps(asked).encode()
        lines = {"host": address.netloc, "content-type": "application/json", "accept": "*/*", "connection": "close"}
        lines |= headers | {"content-length": str(len(content))}
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        self._received: list[tuple[float, bytes]] = []
        self._started = time.perf_counter()
        self.socket = socket.create_connection((address.hostname, address.port))
        self.socket.sendall(f"POST /v1/completions HTTP/1.1\r\n{head}\r\n".encode() + content)
        self.socket.setblocking(False)

    def read(self) -> bool:
        """Take what has come; False at the end."""
        part = self.socket.recv(65536)
        self._received.append((time.perf_counter(), part))
        if not part:
            self.socket.close()
        return bool(part)

    def sample(self) -> Sample:
        """What was measured. Raises RuntimeError where the server did not give the tokens."""
        raw = b"".join(part for _, part in self._received)
        if not raw.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"the server answered {raw[:500].decode(errors='replace')}")
        sample = Sample(self._started, tokens=self._wanted)
        usage, line = None, b""
        for arrived, part in self._received:
            *whole, line = (line + part).split(b"\n")
            events = [json.loads(text[len(b"data: ") :]) for text in whole if text.startswith(b"data: {")]
            said = "".join(event["choices"][0]["text"] for event in events if event.get("choices"))
            if said:
                sample.text += said
                sample.arrivals.append(arrived)
            usage = next((event["usage"] for event in events if event.get("usage")), usage)
        if usage is None or usage["completion_tokens"] != self._wanted:
            raise RuntimeError(f"{self._wanted} tokens were asked for; the server's last words are {raw[-300:]!r}")
        return sample


def complete(url: str, prompt: list[int], body: dict[str, Any], headers: dict[str, str]) -> Sample:
    """One request, alone."""
    return drive_http(url, [prompt], 1, body, headers)[0]


def drive_http(
    url: str, prompts: list[list[int]], concurrency: int, body: dict[str, Any], headers: dict[str, str]
) -> list[Sample]:
    """The closed loop: `concurrency` clients take the prompts one after another."""
    done: list[Exchange] = []
    waiting: Iterator[list[int]] = iter(prompts)
    with selectors.DefaultSelector() as selector:

        def start() -> None:
            for prompt in waiting:
                exchange = Exchange(url, prompt, body, headers)
                selector.register(exchange.socket, selectors.EVENT_READ, exchange)
                return

        for _ in range(concurrency):
            start()
        while selector.get_map():
            ready = selector.select(SECONDS)
            if not ready:
                raise RuntimeError(f"the server was silent for {SECONDS} s")
            for key, _ in ready:
                if not key.data.read():
                    selector.unregister(key.fileobj)
                    done.append(key.data)
                    start()
    return [exchange.sample() for exchange in done]
