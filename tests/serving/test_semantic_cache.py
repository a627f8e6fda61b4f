"""The semantic cache: the same question in other words, of the same model in the same way, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from tiny_package import free_port

from llm_assets.serving.config import SemanticCacheConfig, ServingConfig
from llm_assets.serving.replies import Choice, Reply
from llm_assets.serving.sampling import Sampling
from llm_assets.serving.semantic_cache import SemanticCache, embed
from resources.endpoint import Endpoint

GREEDY = Sampling(max_tokens=8, temperature=0.0)
ASKED = "How do I top up my card?"


def reply(text, said="", digest="d", model="llm-assets", n=1, sampling=GREEDY, frame=(("user", ""),)):
    made = Reply("chat", model, SimpleNamespace(digest=digest), text, [[1]], sampling, n, 0.0, frame=frame)
    made.choices = [Choice(said, 1, "stop")]
    return made


def cache(*kept, entries=8):
    made = SemanticCache(entries, 0.7)
    for one in kept:
        made.keep(one)
    return made


def said(found):
    return found and found[0].text


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (ASKED, "how do i top up my card", True),
        (ASKED, "How do I top up the card?", True),
        ("Why hasn't my transfer arrived yet?", "why hasnt the transfer arived yet", True),
        ("How do I get my card?", "How do I get my card PIN?", False),
        ("Can I use this card at any store?", "Can I use this card at any ATM?", False),
        ("can I use it abroad", "can't I use it abroad", False),
        ("track order 1234", "track order 1235", False),
        ("send money from London to Paris", "send money from Paris to London", False),
        (ASKED, "where is the nearest branch", False),
        ("wie lade ich meine Karte auf", "wie lade ich meine Karten auf", True),
        ("x " * 300, "x " * 300, False),  # a document, not a question
        ("?!", "?!", False),
    ],
)
def test_the_same_question_and_no_other(one, other, same):
    assert said(cache(reply(one, "answer")).find(reply(other))) == ("answer" if same else None)


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "other"},
        {"model": "llm-assets-route"},
        {"n": 2},
        {"sampling": replace(GREEDY, max_tokens=9)},
        {"sampling": replace(GREEDY, stop=("x",))},
        {"sampling": replace(GREEDY, temperature=1.0, seed=3)},
        {"frame": (("system", "Answer in verse."), ("user", ""))},
        {"frame": None},
    ],
)
def test_all_else_must_be_equal(change):
    assert cache(reply(ASKED, "answer")).find(reply(ASKED, **change)) is None


def test_it_is_bounded_and_the_least_recently_used_goes():
    texts = ["close the account", "freeze this card", "exchange euros today"]
    kept = cache(*(reply(text, text) for text in texts[:2]), entries=2)
    assert said(kept.find(reply(texts[0]))) == texts[0]
    kept.keep(reply(texts[2], texts[2]))
    assert [said(kept.find(reply(text))) for text in texts] == [texts[0], None, texts[2]]


def test_a_reply_that_takes_much_memory_is_not_kept():
    kept = cache(reply(ASKED, "x" * 10_000))
    assert kept.find(reply(ASKED)) is None
    kept.keep(reply(ASKED, "x" * 1000))
    assert said(kept.find(reply(ASKED))) == "x" * 1000


def test_vectors_do_not_depend_on_the_process():
    assert np.flatnonzero(embed("top up"))[:4].tolist() == [49, 83, 151, 241]
    assert np.linalg.norm(embed(ASKED)) == pytest.approx(1) and not embed("").any()


def test_the_server_gives_a_reply_again_and_counts_it(packages, tmp_path):
    settings = ServingConfig(port=free_port(), start_seconds=30, semantic_cache=SemanticCacheConfig())
    made = Endpoint(tmp_path / "home", settings, threads=1)
    try:
        made.deploy(packages["good"], "good-digest")
        made.start()
        made.wait_serving("good-digest")
        with httpx.Client(base_url=made.url, headers={"authorization": f"Bearer {made.api_key()}"}) as http:

            def ask(text, **more):
                body = {"model": "llm-assets-route", "messages": [{"role": "user", "content": text}]} | more
                return http.post("/v1/chat/completions", json=body).json()

            def hits():
                text = http.get("/metrics").text.splitlines()
                named = 'llm_assets:cache_hits_total{tier="semantic"}'
                return float(next(line for line in text if line.startswith(named)).split()[-1])

            first = ask("parse the query string")
            assert hits() == 0
            again = ask("Parse the query strings!")
            assert again["choices"] == first["choices"] and hits() == 1
            ask("Parse the query strings!", temperature=1.0)  # unseeded: another reply is what is asked for
            ask("parse the query string", max_tokens=3)
            ask("follow a redirect")
            assert hits() == 1
    finally:
        made.stop(seconds=3)
