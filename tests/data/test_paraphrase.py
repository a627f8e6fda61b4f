"""Paraphrases from a real HTTP server on loopback: retries, cache, bounded spend, the key, errors."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from document_tables import table
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from llm_assets.data.augment import augment_table
from llm_assets.data.augment.config import AugmentConfig, FilterConfig, Paraphrase
from llm_assets.data.augment.paraphrase import paraphrase_texts
from llm_assets.errors import UserError

KEY = "secret-of-the-test"
TEXTS = [(f"text number {number}", 0) for number in range(12)]


class Provider:
    """An endpoint that answers with the words turned round, and fails as it is told to."""

    def __init__(self) -> None:
        self.requests: list[dict[str, Any]] = []
        self.fail: dict[str, list[int]] = {}  # text -> statuses that it is answered with first
        self.delay = 0.0
        self.app = FastAPI()
        self.app.post("/v1/chat/completions")(self.complete)

    async def complete(self, request: Request) -> Any:
        body = await request.json()
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": "wrong key"}}, 401)
        text = body["messages"][-1]["content"]
        self.requests.append(body)
        if self.fail.get(text):
            return JSONResponse({"error": {"message": "busy"}}, self.fail[text].pop(0), {"retry-after-ms": "1"})
        time.sleep(self.delay)
        answer = {"role": "assistant", "content": " " + " ".join(reversed(text.split())) + "\n"}
        return {
            "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": answer}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        }  # fmt: skip


@pytest.fixture
def provider(free_port, monkeypatch) -> Iterator[tuple[Provider, str]]:
    """(the provider, its base URL); the key is in the environment."""
    monkeypatch.setenv("PARAPHRASE_KEY", KEY)
    made, port = Provider(), free_port()
    server = uvicorn.Server(uvicorn.Config(made.app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield made, f"http://127.0.0.1:{port}/v1"
    server.should_exit = True
    thread.join()


def settings(url: str, **changed: Any) -> Paraphrase:
    return Paraphrase(**{"url": url, "model": "any", "key_variable": "PARAPHRASE_KEY", "retries": 2, **changed})


def test_answers_are_kept_and_not_paid_for_twice(provider, tmp_path) -> None:
    server, url = provider
    first = paraphrase_texts([*TEXTS, TEXTS[0]], settings(url), tmp_path / "cache")
    assert first.texts[0] == "0 number text" == first.texts[-1]
    assert (first.requests, first.failed, first.tokens) == (12, 0, 96)
    assert server.requests[0]["messages"][0]["role"] == "system"
    again = paraphrase_texts(TEXTS, settings(url), tmp_path / "cache")
    assert (again.texts, again.requests) == (first.texts[:-1], 0)
    assert len(server.requests) == 12
    assert paraphrase_texts(TEXTS, settings(url, model="other"), tmp_path / "cache").requests == 12


def test_retries_then_the_row_goes_without(provider, tmp_path) -> None:
    server, url = provider
    server.fail = {TEXTS[1][0]: [500, 429], TEXTS[2][0]: [503] * 9, TEXTS[3][0]: [400]}
    found = paraphrase_texts(TEXTS, settings(url), tmp_path / "cache")
    assert found.texts[1] == "1 number text"
    assert (found.texts[2], found.texts[3]) == (None, None)
    assert (found.requests, found.failed) == (12, 2)
    assert len(server.requests) == 12 + 2 + 2
    assert paraphrase_texts(TEXTS, settings(url), tmp_path / "cache").requests == 2  # only what is missing


def test_the_spend_is_bounded(provider, tmp_path) -> None:
    server, url = provider
    for _ in range(2):  # what is in the cache counts, so a rerun gives the same rows
        found = paraphrase_texts(TEXTS, settings(url, max_requests=5), tmp_path / "cache")
        assert sum(text is not None for text in found.texts) == 5
    assert len(server.requests) == 5


def test_a_slow_answer_is_given_up(provider, tmp_path) -> None:
    server, url = provider
    server.delay = 1.0
    with pytest.raises(UserError, match="answered none of the first 4"):
        paraphrase_texts(TEXTS, settings(url, timeout=0.2, retries=0), tmp_path / "cache")


def test_the_key_comes_from_the_environment_alone(provider, tmp_path, monkeypatch) -> None:
    server, url = provider
    monkeypatch.setenv("PARAPHRASE_KEY", "wrong")
    with pytest.raises(UserError, match="refused"):
        paraphrase_texts(TEXTS, settings(url), tmp_path / "cache")
    monkeypatch.delenv("PARAPHRASE_KEY")
    with pytest.raises(UserError, match="PARAPHRASE_KEY"):
        paraphrase_texts(TEXTS, settings(url), tmp_path / "cache")
    assert not server.requests


def test_an_endpoint_that_is_not_there_is_an_error(free_port, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PARAPHRASE_KEY", KEY)
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(UserError, match="answered none"):
        paraphrase_texts(TEXTS, settings(url, retries=0, workers=2), tmp_path / "cache")


def test_paraphrased_rows_have_their_parents(provider, tmp_path) -> None:
    url = provider[1]
    documents = table([(f"number {number} of many", "ab"[number % 2]) for number in range(20)])
    config = AugmentConfig(
        operations=[settings(url, n=2)], share=1, copies=None, filters=FilterConfig(keep_label=False)
    )
    made, counts = augment_table(documents, config, cache=tmp_path / "cache")
    assert (counts["paraphrase_requests"], counts["paraphrase_tokens"]) == (40, 320)
    assert counts["made_paraphrase"] == 20  # the second answer was the first again
    parents = dict(zip(documents["id"].to_pylist(), documents["text"].to_pylist(), strict=True))
    for row in made.slice(20).to_pylist():
        assert row["text"].split() == parents[row["parents"][0]].split()[::-1]
        assert row["steps"] == ["paraphrase"]
    for workers in (1, 2):
        assert made.equals(augment_table(documents, config, cache=tmp_path / "cache", workers=workers)[0])
