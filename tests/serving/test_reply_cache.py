"""What the cache of exact replies keeps: no more entries, and no more memory, than it may."""

from __future__ import annotations

import gc
import tracemalloc

import httpx
import pytest
from test_caches import counted
from test_soak import start

from llm_assets.serving.replies import Choice
from llm_assets.serving.reply_cache import ReplyCache, held_bytes
from llm_assets.serving.sampling import TokenLogprob


def choices(letter: str, count: int, characters: int, tokens: int = 0, top: int = 0) -> list[Choice]:
    """Of texts and log-probabilities made anew, so that none share memory."""
    told = [
        TokenLogprob(1000 + at, -1.5 * at, tuple((2000 + rank, -2.5 * rank - at) for rank in range(top)))
        for at in range(tokens)
    ]
    return [Choice(letter * characters, tokens, "stop", list(told)) for _ in range(count)]


@pytest.mark.parametrize(
    "kind",
    [("x", 1, 5), ("\N{GRINNING FACE}", 8, 3000), ("x", 1, 5, 200), ("x", 1, 5, 200, 1), ("x", 1, 5, 200, 20)],
    ids=["short", "wide", "tokens", "one alternative", "twenty"],
)
def test_an_entry_takes_no_more_memory_than_is_counted(kind):
    entries = 50
    choices(*kind)  # what is made once is made
    gc.collect()
    tracemalloc.start()
    try:
        cache = ReplyCache(entries, 2**40)
        for at in range(entries):
            cache.keep(at.to_bytes(32, "big"), choices(*kind))
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    counted_bytes = entries * held_bytes(choices(*kind))
    assert taken <= counted_bytes <= 4 * taken


def test_entries_and_bytes_are_bounded_and_the_least_used_goes():
    reply = choices("x", 1, 100)
    size = held_bytes(reply)
    keys = [name.encode() for name in "abcd"]
    for cache in (ReplyCache(2, 2**30), ReplyCache(10, 2 * size + 1)):
        for key in keys[:2]:
            cache.keep(key, reply)
        cache.keep(keys[0], reply)  # again: it counts once
        assert cache.find(keys[1]) is reply
        cache.keep(keys[2], reply)
        assert [cache.find(key) is not None for key in keys] == [False, True, True, False]
    cache.keep(keys[3], choices("x", 1, 10_000))
    assert [cache.find(key) is not None for key in keys] == [False, True, True, False], "one larger than all"
    cache.keep(keys[1], choices("x", 1, 10_000))
    assert cache.find(keys[1]) is None and cache.find(keys[2]) is reply, "nor is what it would stand in for"
    nothing = ReplyCache(0, 2**30)
    nothing.keep(keys[0], reply)
    assert nothing.find(keys[0]) is None


def test_the_server_keeps_within_its_bytes(endpoint, packages):
    """Of two replies of 1.5 MiB each, two MiB have room for one."""
    small = start(endpoint, packages["good"], cache_mb=2)
    body = {"model": "llm-assets", "prompt": "x", "n": 8, "max_tokens": 60, "ignore_eos": True, "logprobs": 20}
    with httpx.Client(base_url=small.url, headers={"authorization": f"Bearer {small.api_key()}"}, timeout=60) as http:

        def cached(seed: int) -> bool:
            before = counted(small, "hits")
            assert http.post("/v1/completions", json=body | {"seed": seed}).status_code == 200
            return counted(small, "hits") > before

        assert [cached(seed) for seed in (1, 1, 2, 2, 1)] == [False, True, False, True, False]
