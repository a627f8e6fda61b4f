"""What caches give back: the reply to the same request and no other, beginnings of prompts; never more than fits."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import numpy as np
import psutil
import pytest
import tiny_package
from test_soak import gauge, start

from llm_assets.inference.kv_cache import KvCache
from llm_assets.serving.prefix_cache import BLOCK, PrefixCache

BODY = {
    "model": "llm-assets", "messages": [{"role": "user", "content": tiny_package.TEXTS["web"][0]}], "temperature": 0.7,
    "seed": 3, "max_tokens": 6,
}  # fmt: skip
OTHER = [
    {"model": "llm-assets-route"},
    {"messages": [{"role": "user", "content": tiny_package.TEXTS["web"][1]}]},
    {"messages": [{"role": "system", "content": "x"}, *BODY["messages"]]},
    {"temperature": 0.8},
    {"seed": 4},
    {"max_tokens": 7},
    {"min_tokens": 2},
    {"ignore_eos": True},
    {"top_p": 0.9},
    {"top_k": 9},
    {"min_p": 0.1},
    {"repetition_penalty": 1.1},
    {"presence_penalty": 0.5},
    {"frequency_penalty": 0.5},
    {"logit_bias": {"40": 1}},
    {"stop": "zz"},
    {"n": 2},
    {"logprobs": True},
    {"logprobs": True, "top_logprobs": 2},
    {"response_format": {"type": "json_object"}},
    {"structured_outputs": {"choice": ["web", "tables"]}},
    {"structured_outputs": {"regex": "web|tables"}},
]


@pytest.fixture
def http(live):
    with httpx.Client(base_url=live.url, headers={"authorization": f"Bearer {live.api_key()}"}, timeout=20) as made:
        yield made


def counted(endpoint, name: str) -> float:
    return gauge(endpoint, f'llm_assets:cache_{name}_total{{tier="exact"}}')


def test_a_reply_is_given_again_to_the_same_request_and_no_other(http, live):
    for body in (BODY, *(BODY | change for change in OTHER)):
        hits, queries = counted(live, "hits"), counted(live, "queries")
        first = http.post("/v1/chat/completions", json=body)
        assert first.status_code == 200, first.text
        assert (counted(live, "hits"), counted(live, "queries")) == (hits, queries + 1), body
        again = http.post("/v1/chat/completions", json=body).json()
        assert again["choices"] == first.json()["choices"]
        assert (counted(live, "hits"), counted(live, "queries")) == (hits + 1, queries + 2), body


def test_what_would_be_another_reply_each_time_is_not_kept(http, live):
    body = {name: value for name, value in BODY.items() if name != "seed"}
    queries = counted(live, "queries")
    for _ in range(2):
        http.post("/v1/chat/completions", json=body)
    assert counted(live, "queries") == queries


def test_the_oldest_reply_goes(endpoint, packages):
    small = start(endpoint, packages["good"], cache_entries=2)
    with httpx.Client(base_url=small.url, headers={"authorization": f"Bearer {small.api_key()}"}) as http:

        def cached(prompt: str) -> bool:
            before = counted(small, "hits")
            http.post("/v1/completions", json={"model": "llm-assets", "prompt": prompt, "temperature": 0})
            return counted(small, "hits") > before

        assert [cached(prompt) for prompt in ("a", "b", "a", "c", "a", "b")] == [False, False, True, False, True, False]


def test_beginnings_stay_within_their_bytes_and_the_least_used_goes():
    cache = KvCache(layers=2, kv_heads=1, head_dim=8, tokens=512, capacity=256)
    for array in cache.arrays:
        array[...] = np.random.default_rng(0).normal(size=array.shape)
    of_block = 4 * int(np.prod(cache.block(BLOCK)))
    kept = PrefixCache(5 * of_block + 7, cache)  # five blocks and a bit
    prompts = [[number] * (2 * BLOCK + 1) for number in range(4)]
    for prompt in prompts[:2]:
        kept.keep(prompt, cache, 0)
    found = kept.find(prompts[0])  # used now, so it goes last
    assert found.tokens == 2 * BLOCK
    for at, block in enumerate(found.blocks):
        wanted = np.empty(cache.block(BLOCK), np.float32)
        cache.read(0, at * BLOCK, wanted)
        assert np.array_equal(block, wanted)
    kept.keep(prompts[2], cache, 0)
    assert [kept.find(prompt).tokens for prompt in prompts] == [2 * BLOCK, BLOCK, 2 * BLOCK, 0]
    assert len(kept._blocks) + len(kept._unused) == 5
    kept.keep([9] * 256, cache, 1)  # eight blocks: as many of its beginning as there is room for
    assert kept.find([9] * 256).tokens == 5 * BLOCK and len(kept._blocks) == 5
    nothing = PrefixCache(0, cache)
    nothing.keep(prompts[0], cache, 0)
    assert nothing.find(prompts[0]).tokens == 0


def test_memory_is_taken_before_it_is_needed():
    """What the first requests write to is the process's already."""
    process, mb = psutil.Process(), 2**20

    def grown(work: Callable[[], object]) -> float:
        before = process.memory_info().rss
        work()
        return (process.memory_info().rss - before) / mb

    # Three of each: the system may take a few MB of the process back while one is looked at.
    caches = [KvCache(layers=8, kv_heads=4, head_dim=64, tokens=8192, capacity=256) for _ in range(3)]  # 128 MB
    found = [PrefixCache(64 * mb, cache) for cache in caches]
    assert max(grown(lambda cache=cache: cache.touch(4096)) for cache in caches) > 60
    assert max(grown(lambda prefixes=prefixes: prefixes.touch(2048)) for prefixes in found) > 28
    cache, prefixes = caches[0], found[0]
    rows = range(0, 16)

    def use() -> None:
        for row in rows:
            for array in cache.arrays:
                array[row] = row
        for row in range(8):
            prefixes.keep([row] * 256, cache, row)

    assert grown(use) < 24  # of 92
    assert not cache.arrays[0][16:].any() and prefixes.find([7] * 257).tokens == 256
    prefixes.touch(10**6)  # more than there is


def test_memory_for_beginnings_is_taken_ahead_of_them():
    """A prompt never waits for the system's memory, also once what was taken at first is used; and nothing is lost
    where it comes meanwhile."""
    cache = KvCache(layers=2, kv_heads=2, head_dim=64, tokens=2 * 128, capacity=128)
    of_block = 4 * int(np.prod(cache.block(BLOCK)))
    kept = PrefixCache(64 * of_block, cache)
    kept.touch(8 * BLOCK)
    ready = []
    for number in range(16):  # prompts of four blocks each
        for array in cache.arrays:
            array[0] = number
        kept.keep([number] * 129, cache, 0)
        if kept._taker:
            kept._taker.join()
        ready.append(len(kept._unused))
    assert min(ready[:-2]) >= 4 and ready[-1] == 0, ready
    for number in range(16):
        found = kept.find([number] * 129)
        assert found.tokens == 128 and all((block == number).all() for block in found.blocks), number
    kept.keep([16] * 129, cache, 0)  # now the oldest goes
    assert kept.find([0] * 129).tokens == 0 and kept.find([16] * 129).tokens == 128


def test_blocks_that_are_taken_while_others_are_kept_are_nobodys():
    cache = KvCache(layers=2, kv_heads=2, head_dim=64, tokens=2 * 128, capacity=128)
    of_block = 4 * int(np.prod(cache.block(BLOCK)))
    for _ in range(5):
        kept = PrefixCache(1024 * of_block, cache)
        kept.touch(64 * BLOCK)
        for number in range(300):
            for array in cache.arrays:
                array[0] = number
            kept.keep([number] * 128, cache, 0)
        found = {number: kept.find([number] * 129).blocks for number in range(300)}
        assert sum(map(len, found.values())) >= 900  # some may have gone while memory was taken
        assert all((block == number).all() for number, blocks in found.items() for block in blocks)
