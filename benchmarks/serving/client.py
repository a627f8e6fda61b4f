"""The closed loop over HTTP: one thread a client, OpenAI's /v1/completions, streamed."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from .workload import NEW_TOKENS, Sample


def complete(url: str, prompt: list[int], body: dict[str, Any], headers: dict[str, str]) -> Sample:
    """One greedy request of exactly `max_tokens` (NEW_TOKENS) tokens, over a connection of its own, as not every server
    keeps one. Raises RuntimeError where the server does not give the tokens."""
    asked: dict[str, Any] = {
        "prompt": prompt,
        "max_tokens": NEW_TOKENS,
        "temperature": 0,
        "ignore_eos": True,
        "stream": True,
        **body,
    }
    asked["stream_options"] = {"include_usage": True}
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port, timeout=300)
    sample = Sample(time.perf_counter())
    connection.request(
        "POST", "/v1/completions", json.dumps(asked), {"content-type": "application/json", "accept": "*/*", **headers}
    )
    reply = connection.getresponse()
    if reply.status != 200:
        raise RuntimeError(f"the server answered {reply.status}: {reply.read(500).decode(errors='replace')}")
    lines = []
    while line := reply.readline():
        if line.startswith(b"data: {"):
            sample.arrivals.append(time.perf_counter())
            lines.append(line)
    connection.close()
    events = [json.loads(line[len(b"data: ") :]) for line in lines]
    usage = next((event["usage"] for event in reversed(events) if event.get("usage")), None)
    sample.text = "".join(event["choices"][0]["text"] for event in events if event.get("choices"))
    wanted = int(asked["max_tokens"])
    if usage is None or usage["completion_tokens"] != wanted:
        raise RuntimeError(f"{wanted} tokens were asked for; the server's last words are {lines[-1:]}")
    sample.tokens = wanted
    del sample.arrivals[wanted:]  # the closing events (finish reason, usage) bring no token
    return sample


def drive_http(
    url: str, prompts: list[list[int]], concurrency: int, body: dict[str, Any], headers: dict[str, str]
) -> list[Sample]:
    """The closed loop: `concurrency` clients take the prompts one after another."""
    samples: list[Sample] = []
    failures: list[Exception] = []
    waiting: Iterator[list[int]] = iter(prompts)
    lock = threading.Lock()

    def client() -> None:
        try:
            while not failures:
                with lock:
                    prompt = next(waiting, None)
                if prompt is None:
                    return
                samples.append(complete(url, prompt, body, headers))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=client) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return samples
