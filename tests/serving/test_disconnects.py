"""Clients that leave before they are answered: what they asked for is not computed to the end."""

from __future__ import annotations

import asyncio

import pytest
from load_client import leave_once, request_bytes
from test_soak import gauge, start
from waiting import until

TRIES = 20  # each but an answer that comes before its client has gone must save work; all of them never fail
ABORTED = 'vllm:request_success_total{finished_reason="abort"'


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


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/classify"])
def test_texts_that_nobody_waits_for(endpoint, encoders, path):
    served = start(endpoint, encoders["good"], encoder={"batch_tokens": 64})
    texts = ["join rows and columns of two tables on a key " * 7] * 500
    request = request_bytes(served, path, {"model": "llm-assets", "input": texts})
    assert saves_work(served, request, "llm_assets:batch_size_sum", 500)
