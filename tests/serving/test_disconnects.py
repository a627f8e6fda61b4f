"""Clients that leave before they are answered: what they asked for is not computed to the end."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from load_client import leave_after_seconds, leave_once, request_bytes
from starlette.requests import Request
from test_soak import gauge, start
from waiting import until

from llm_assets.serving.clients import LONG, ClientGone, off_the_loop

TRIES = 20  # each but an answer that comes before its client has gone must save work; all of them never fail
TOTAL = "http_requests_total{"
ABORTED = 'vllm:request_success_total{engine="0",finished_reason="abort"'


def saves_work(endpoint, request: bytes, done: str, whole: int) -> bool:
    """Whether of a request that is `whole` units of work less is `done` (a metric) where its client leaves; once it is
    over nothing of it is left."""

    def aborted_or_done() -> bool:
        return gauge(endpoint, ABORTED) > aborted or gauge(endpoint, done) >= before + whole

    def idle() -> bool:
        return not gauge(endpoint, "vllm:num_requests_running{") + gauge(endpoint, "vllm:num_requests_waiting{")

    for _ in range(TRIES):
        before, aborted = gauge(endpoint, done), gauge(endpoint, ABORTED)
        asyncio.run(leave_once(endpoint, request, lambda before=before: gauge(endpoint, done) > before))
        until(aborted_or_done, "the request has ended")
        until(idle, "nothing of it is left")
        if gauge(endpoint, ABORTED) > aborted and gauge(endpoint, done) < before + whole:
            return True
    return False


@pytest.mark.parametrize("stream", [True, False])
def test_a_reply_that_nobody_waits_for(endpoint, packages, stream):
    served = start(endpoint, packages["good"], max_batch=1)
    body = {"model": "llm-assets", "prompt": "on", "temperature": 1.5, "max_tokens": 240, "ignore_eos": True, "n": 8}
    request = request_bytes(served, "/v1/completions", body | {"stream": stream})
    assert saves_work(served, request, "llm_assets:batch_size_sum", 8 * 239)
    assert gauge(served, "vllm:kv_cache_usage_perc{") == 0


@pytest.mark.parametrize("gone", [True, False])
def test_long_texts_are_not_looked_at_for_nobody(gone):
    """Under a flood the server comes to a request when its client may have left long ago."""
    coming = iter([{"type": "http.request", "body": b"{}", "more_body": False}])
    looked = []

    async def receive():
        if message := next(coming, None):
            return message
        if not gone:
            await asyncio.sleep(3600)
        return {"type": "http.disconnect"}

    async def ask():
        request = Request({"type": "http", "headers": [(b"content-length", b"%d" % LONG)]}, receive)
        await request.body()
        await off_the_loop(request, lambda: looked.append("it"))

    if gone:
        with pytest.raises(ClientGone):
            asyncio.run(ask())
    else:
        asyncio.run(ask())
    assert looked == ([] if gone else ["it"])


def test_whoever_leaves_at_once_is_counted_once(endpoint, encoders):
    served = start(endpoint, encoders["good"])
    texts = ["join rows and columns of two tables on a key " * 6] * 32
    asked = request_bytes(served, "/v1/embeddings", {"model": "llm-assets", "input": texts})

    async def leave() -> None:
        await asyncio.gather(*(leave_after_seconds(served, asked, 0) for _ in range(40)))

    def left() -> float:
        lines = httpx.get(f"{served.url}/metrics", timeout=60).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(TOTAL) and 'status="499"' in line)

    asyncio.run(leave())
    until(lambda: left() == gauge(served, ABORTED) > 0, "each is counted as often as it is answered to nobody")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/classify"])
def test_texts_that_nobody_waits_for(endpoint, encoders, path):
    served = start(endpoint, encoders["good"], encoder={"batch_tokens": 64})
    texts = ["join rows and columns of two tables on a key " * 7] * 500
    request = request_bytes(served, path, {"model": "llm-assets", "input": texts})
    assert saves_work(served, request, "llm_assets:batch_size_sum", 500)
