"""The server's log: JSON lines that say all of a request but what was said."""

from __future__ import annotations

import json

import httpx
import pytest
import tiny_package
from waiting import until

from llm_assets.serving.append_log import locked, read_lines
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.traffic import FOLDER
from resources.endpoint import Endpoint

TEXT, LABEL = tiny_package.ROWS[0]
SECRET = "the owl flies at midnight"


def serve(endpoint: Endpoint, packages, **changes) -> Endpoint:
    made = Endpoint(endpoint.home, ServingConfig(**(endpoint.settings.model_dump() | changes)), 1)
    made.deploy(packages["good"], "good-digest")
    made.start()
    made.wait_serving("good-digest")
    return made


def talk(live: Endpoint) -> list[dict]:
    """Ask in every way, well and badly; the log's lines."""
    body = {"model": "llm-assets", "messages": [{"role": "user", "content": SECRET}], "max_tokens": 5, "temperature": 0}
    headers = {"authorization": f"Bearer {live.api_key()}"}
    with httpx.Client(base_url=live.url, headers=headers) as http:
        for at, sent in enumerate(
            (body, body, body | {"stream": True}, body | {"tools": [SECRET]}, body | {SECRET: 1})
        ):
            http.post("/v1/chat/completions", json=sent, headers={"x-request-id": f"id-{at}"})
        http.post("/v1/completions", json={"model": SECRET, "prompt": SECRET}, headers={"x-request-id": "id-5"})
        http.post("/v1/chat/completions", content=f'{{"{SECRET}'.encode())
        http.post("/tokenize", json={"prompt": SECRET})
        http.get(f"/v1/models/{SECRET}")
        http.get(f"/{SECRET}", headers={"authorization": SECRET})
    live.stop()  # a line is written after its answer
    return [json.loads(line) for line in live.log.read_text(encoding="utf-8").splitlines()]


def test_lines_tell_all_but_the_text(endpoint, packages):
    live = serve(endpoint, packages)
    lines = talk(live)
    text = live.log.read_text(encoding="utf-8")
    assert SECRET not in text and live.api_key() not in text and "owl" not in text
    by_id = {line["id"]: line for line in lines if line["message"] == "request"}
    assert len(by_id) == 10, "one line a request"
    whole, again, streamed, refused = (by_id[f"id-{at}"] for at in range(4))
    for line in (whole, again, streamed):
        assert (line["route"], line["status"], line["model"]) == ("/v1/chat/completions", 200, "llm-assets")
        assert (
            line["prompt_tokens"] > 5 and line["completion_tokens"] > 0 and line["finish_reason"] in ("stop", "length")
        )
        assert (
            line["ms"] >= 0 and line["digest"] == "good-digest" and line["method"] == "POST" and len(line["key"]) == 8
        )
        assert line["at"].endswith("+00:00") and line["level"] == "info" and line["reply"].startswith("chatcmpl-")
    assert [line["cached"] for line in (whole, again, streamed)] == [False, True, True]
    assert [line["stream"] for line in (whole, again, streamed)] == [False, False, True]
    assert refused["status"] == 400 and "reply" not in refused
    assert {line["route"] for line in by_id.values()} >= {"/tokenize", "/v1/models/{name}", "unknown"}
    assert not any(line.get("route") == "/health" for line in lines)


def test_prompts_are_logged_where_the_recipe_says_so(endpoint, packages):
    live = serve(endpoint, packages, log_prompts=True)
    lines = [line for line in talk(live) if line.get("status") == 200 and "finish_reason" in line]
    assert (
        len(lines) == 3 and {line["text"] for line in lines} == {SECRET} and all("reply_text" in line for line in lines)
    )


@pytest.mark.parametrize("log_prompts", [False, True])
def test_texts_of_an_encoder_are_logged_where_the_recipe_says_so(endpoint, encoders, log_prompts):
    made = Endpoint(endpoint.home, endpoint.settings.model_copy(update={"log_prompts": log_prompts}), 1)
    made.deploy(encoders["good"], "good-digest")
    made.start()
    made.wait_serving("good-digest")
    headers = {"authorization": f"Bearer {made.api_key()}"}
    for path in ("embeddings", "classify"):
        asked = httpx.post(f"{made.url}/v1/{path}", json={"model": "llm-assets", "input": TEXT}, headers=headers)
        assert asked.status_code == 200
    made.stop()
    lines = [json.loads(line) for line in made.log.read_text(encoding="utf-8").splitlines()]
    told = [(line.get("text"), line.get("reply_text")) for line in lines if line.get("status") == 200]
    assert told == ([(TEXT, ""), (TEXT, LABEL)] if log_prompts else [(None, None)] * 2)
    assert (TEXT in made.log.read_text(encoding="utf-8")) == log_prompts


@pytest.mark.parametrize(
    ("kind", "route", "body"),
    [
        ("packages", "completions", {"prompt": TEXT, "max_tokens": 5}),
        ("packages", "completions", {"prompt": TEXT, "max_tokens": 5, "stream": True}),
        ("encoders", "embeddings", {"input": TEXT}),
    ],
    ids=["whole", "stream", "embeddings"],
)
def test_no_reply_waits_for_its_record(endpoint, request, kind, route, body):
    """While another process holds the traffic log, the server cannot write to it; what it has said has been sent."""
    live = serve(endpoint, request.getfixturevalue(kind))
    asked = {"model": "llm-assets", **body}
    headers = {"authorization": f"Bearer {live.api_key()}"}
    with httpx.Client(base_url=live.url, headers=headers, timeout=30) as http:
        assert http.post(f"/v1/{route}", json=asked).status_code == 200
        assert http.get("/health").status_code == 200  # the first record is there by now
        [part] = (live.home / FOLDER).glob("*.jsonl")
        with locked(part):
            reply = http.post(f"/v1/{route}", json=asked)
            assert reply.status_code == 200 and len(list(read_lines(part))) == 1
            assert "stream" not in body or reply.text.endswith("data: [DONE]\n\n")
    until(lambda: len(list(read_lines(part))) == 2, "the second record")
