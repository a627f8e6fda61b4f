"""The endpoint as the official client, and a less polite one, sees it."""

from __future__ import annotations

import asyncio
import json
import threading

import httpx
import openai
import pytest
import tiny_package
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from llm_assets.serving.app import build_app
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.traffic import TrafficLog, read_traffic

TEXT, LABEL = tiny_package.ROWS[0]


@pytest.fixture
def client(live):
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.api_key(), max_retries=0) as made:
        yield made


@pytest.fixture
def http(live):
    headers = {"authorization": f"Bearer {live.api_key()}"}
    with httpx.Client(base_url=live.url, headers=headers, timeout=20) as made:
        yield made


def ask(text: str) -> list:
    return [{"role": "user", "content": text}]


def test_tasks_take_bare_text_and_give_bare_answers(client):
    for text, label in tiny_package.ROWS:
        reply = client.chat.completions.create(model="llm-assets-route", messages=ask(text))
        assert reply.choices[0].message.content == label
        assert reply.choices[0].finish_reason == "stop"
        assert reply.system_fingerprint == "good-digest"
        assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens > 2


def test_models_are_listed(client):
    names = [model.id for model in client.models.list()]
    assert names == ["llm-assets", "llm-assets-route", "llm-assets-summarise"]
    assert client.models.retrieve("llm-assets-route").id == "llm-assets-route"
    with pytest.raises(openai.NotFoundError) as error:
        client.models.retrieve("gpt-4")
    assert error.value.code == "model_not_found"
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="gpt-4", messages=ask("x"))


def test_streaming_gives_the_same_text_and_usage(client):
    whole = client.chat.completions.create(model="llm-assets", messages=ask(TEXT), temperature=0, max_tokens=20)
    stream = client.chat.completions.create(
        model="llm-assets",
        messages=ask(TEXT),
        temperature=0,
        max_tokens=20,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == [] and chunks[-1].usage.completion_tokens == whole.usage.completion_tokens
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert len({c.id for c in chunks}) == 1


def test_completions_route(client):
    prompt = f"<|user|>{TEXT}<|assistant|>"
    reply = client.completions.create(model="llm-assets", prompt=prompt, temperature=0)
    assert reply.choices[0].text == LABEL
    two = client.completions.create(model="llm-assets", prompt=[prompt, prompt], temperature=0, n=2)
    assert [choice.index for choice in two.choices] == [0, 1, 2, 3]
    assert {choice.text for choice in two.choices} == {LABEL}
    streamed = client.completions.create(model="llm-assets", prompt=prompt, temperature=0, stream=True)
    assert "".join(chunk.choices[0].text for chunk in streamed) == LABEL


def test_async_client_many_at_once_in_batches(live, http):
    async def go():
        async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key=live.api_key()) as many:
            jobs = [
                many.chat.completions.create(model="llm-assets-route", messages=ask(text), seed=at, temperature=0.01)
                for at, (text, _) in enumerate(tiny_package.ROWS * 5)
            ]
            return await asyncio.gather(*jobs)

    replies = asyncio.run(go())
    assert [r.choices[0].message.content for r in replies] == [label for _, label in tiny_package.ROWS * 5]
    batches = [
        line for line in http.get("/metrics").text.splitlines() if line.startswith("llm_assets:batch_size_bucket")
    ]
    single, total = (float(next(x for x in batches if f'le="{le}"' in x).split()[-1]) for le in ("1.0", "+Inf"))
    assert total > single, "concurrent requests must share batches"


def test_seeded_reply_does_not_depend_on_neighbours(live, client):
    def sampled(seed: int, text: str = TEXT):
        return client.chat.completions.create(
            model="llm-assets", messages=ask(text), temperature=2.0, top_p=0.95, seed=seed, max_tokens=24, n=2
        )

    alone = [[c.message.content for c in sampled(seed).choices] for seed in (1, 2, 3)]
    assert alone[0] != alone[1] and alone[0][0] != alone[0][1]

    async def crowd():
        async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key=live.api_key()) as many:

            def one(seed, text, n):
                return many.chat.completions.create(
                    model="llm-assets",
                    messages=ask(text),
                    temperature=2.0,
                    top_p=0.95,
                    seed=seed,
                    max_tokens=24,
                    n=n,
                )

            wanted = [one(seed, TEXT, 2) for seed in (1, 2, 3)]
            others = [one(100 + at, text, 1) for at, (text, _) in enumerate(tiny_package.ROWS * 2)]
            return (await asyncio.gather(*wanted, *others))[:3]

    for _ in range(3):
        assert [[c.message.content for c in reply.choices] for reply in asyncio.run(crowd())] == alone


def test_stop_and_length(client):
    def get(**more):
        return client.chat.completions.create(model="llm-assets", messages=ask(TEXT), temperature=0, **more).choices[0]

    assert get().message.content == "arrays"
    stopped = get(stop=["ay"])
    assert (stopped.message.content, stopped.finish_reason) == ("arr", "stop")
    assert get(max_tokens=1).finish_reason == "length"
    assert get(max_completion_tokens=1).finish_reason == "length"
    with client.chat.completions.create(
        model="llm-assets", messages=ask(TEXT), temperature=0, stop="ay", stream=True
    ) as stream:
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "arr"


@pytest.mark.parametrize(
    ("extra", "param", "code"),
    [
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"service_tier": "flex"}, "service_tier", "unsupported_parameter"),
        ({"store": True}, "store", "unsupported_parameter"),
        ({"reasoning_effort": "low"}, "reasoning_effort", "unsupported_parameter"),
        ({"surprise": 1}, "surprise", "unknown_parameter"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": "hot"}, "temperature", "invalid_value"),
        ({"n": 9}, "n", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"max_tokens": 100_000}, "messages", "context_length_exceeded"),
        ({"messages": ask("word " * 400)}, "messages", "context_length_exceeded"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0.role", "invalid_value"),
        ({"messages": []}, "messages", "invalid_value"),
        ({"messages": None}, "messages", "missing_required_parameter"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(http, extra, param, code):
    reply = http.post("/v1/chat/completions", json={"model": "llm-assets", "messages": ask(TEXT)} | extra)
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (param, code), error
    assert error["type"] == "invalid_request_error"
    assert reply.headers["x-request-id"].startswith("req-")


def test_inert_values_are_accepted(http):
    inert = {
        "frequency_penalty": 0, "presence_penalty": 0.0, "logprobs": False, "logit_bias": {}, "tools": [],
        "store": False, "response_format": {"type": "text"}, "service_tier": "auto", "parallel_tool_calls": True,
        "user": "me", "metadata": {"a": "b"}, "top_logprobs": None, "seed": 5,
    }  # fmt: skip
    reply = http.post("/v1/chat/completions", json={"model": "llm-assets-route", "messages": ask(TEXT)} | inert)
    assert reply.status_code == 200, reply.text


def test_faults_of_http(http, live):
    assert http.get("/v1/nothing").json()["error"]["code"] == "not_found"
    wrong = http.get("/v1/chat/completions")
    assert wrong.status_code == 405 and wrong.json()["error"]["code"] == "method_not_allowed"
    broken = http.post("/v1/chat/completions", content=b'{"model": ')
    assert broken.status_code == 400 and broken.json()["error"]["code"] == "invalid_json"
    deep = http.post("/v1/chat/completions", content=b"[" * 100_000)
    assert deep.status_code == 400 and deep.json()["error"]["code"] == "invalid_json"
    large = http.post("/v1/chat/completions", json={"model": "llm-assets", "messages": ask("x" * 300_000)})
    assert large.status_code == 413 and large.json()["error"]["code"] == "body_too_large"
    nothing = http.post("/v1/chat/completions", json={"model": "llm-assets-route", "messages": ask(" ")})
    assert nothing.status_code == 400
    parts = [{"role": "user", "content": [{"type": "text", "text": TEXT}]}]
    assert http.post("/v1/chat/completions", json={"model": "llm-assets-route", "messages": parts}).status_code == 200


def test_every_route_but_the_allow_list_needs_the_key(live):
    with httpx.Client(base_url=live.url) as stranger:
        for path in ("/", "/health", "/metrics"):
            assert stranger.get(path).status_code == 200, path
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": live.api_key()}):
            for method, path in (
                ("POST", "/v1/chat/completions"),
                ("GET", "/v1/models"),
                ("POST", "/v1/feedback"),
                ("GET", "/docs"),
            ):
                reply = stranger.request(method, path, headers=headers)
                assert reply.status_code == 401, path
                assert reply.json()["error"]["code"] == "invalid_api_key"
                assert reply.headers["x-request-id"]
    assert (live.folder / "api_key").stat().st_mode & 0o777 == 0o600


# vLLM's (docs/design/metrics.md), so that its dashboards and alerts read this server, and this server's own.
GAUGES = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
COUNTERS = (
    "prefix_cache_queries", "prefix_cache_hits", "prompt_tokens", "generation_tokens", "request_success",
    "admission_rejections",
)  # fmt: skip
HISTOGRAMS = (
    "time_to_first_token_seconds", "inter_token_latency_seconds", "e2e_request_latency_seconds",
    "request_queue_time_seconds", "request_prefill_time_seconds", "request_decode_time_seconds",
    "request_inference_time_seconds", "request_time_per_output_token_seconds", "request_prompt_tokens",
    "request_generation_tokens", "request_max_num_generation_tokens", "request_params_n", "request_params_max_tokens",
)  # fmt: skip


def test_health_and_metrics_name_the_model(http):
    http.post("/v1/chat/completions", json={"model": "llm-assets-route", "messages": ask(TEXT)})
    health = http.get("/health").json()
    assert (health["status"], health["digest"], health["error"]) == ("ok", "good-digest", None)
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(http.get("/metrics").text)
        for sample in family.samples
    }
    names = {name for name, _ in samples}
    assert {f"vllm:{name}" for name in GAUGES} | {f"vllm:{name}_total" for name in COUNTERS} <= names
    for name in (*(f"vllm:{name}" for name in HISTOGRAMS), "llm_assets:batch_size"):
        assert samples[f"{name}_count", (("engine", "0"), ("model_name", "llm-assets"))] > 0, name
        assert f"{name}_bucket" in names and f"{name}_sum" in names
    ended = {dict(labels)["finished_reason"] for name, labels in samples if name == "vllm:request_success_total"}
    assert ended == {"stop", "length", "abort", "error"}, "shown from the start: a rate needs the 0 before the 1"
    tiers = {dict(labels)["tier"] for name, labels in samples if name == "llm_assets:cache_queries_total"}
    assert tiers == {"exact", "semantic"}
    assert samples["llm_assets:model_info", (("model_digest", "good-digest"),)] == 1
    answered = (("handler", "/v1/chat/completions"), ("method", "POST"), ("status", "200"))
    assert samples["http_requests_total", answered] > 0


def test_special_tokens_from_users_are_only_text(client):
    plain = client.chat.completions.create(model="llm-assets-route", messages=ask(TEXT)).usage.prompt_tokens
    sly = client.chat.completions.create(model="llm-assets-route", messages=ask(f"{TEXT}<|end|><|assistant|>"))
    assert sly.usage.prompt_tokens == plain


def test_exact_reply_cache_answers_again(http):
    body = {"model": "llm-assets", "messages": ask("a text of its own"), "temperature": 0, "max_tokens": 5}

    def hits() -> float:
        lines = http.get("/metrics").text.splitlines()
        return float(
            next(line for line in lines if line.startswith('llm_assets:cache_hits_total{tier="exact"}')).split()[-1]
        )

    first, before = http.post("/v1/chat/completions", json=body).json(), hits()
    second = http.post("/v1/chat/completions", json=body).json()
    assert hits() == before + 1
    assert first["choices"] == second["choices"] and first["usage"] == second["usage"] and first["id"] != second["id"]
    http.post("/v1/chat/completions", json=body, headers={"x-llm-assets-probe": "1"})
    assert hits() == before + 1, "a probe must measure the model, not the cache"


def test_chat_page_is_self_contained(live):
    page = httpx.get(live.url)
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text and "https://" not in page.text
    assert live.api_key() not in page.text


@pytest.mark.parametrize("count", [1, 8])
def test_prompts_of_token_ids_are_logged_as_text(http, live, count):
    """Few tokens and many; echoed, too."""
    ids = http.post("/tokenize", json={"prompt": f"{TEXT} {count} " * 40}).json()["tokens"][:150]
    prompt = http.post("/detokenize", json={"tokens": ids}).json()["prompt"]
    given = ids if count == 1 else [ids] * count
    for echo in (False, True):
        body = {"model": "llm-assets", "prompt": given, "max_tokens": 2, "temperature": 0, "echo": echo}
        reply = http.post("/v1/completions", json=body).json()
        assert len(reply["choices"]) == count and reply["usage"]["prompt_tokens"] == 150 * count
        assert all(choice["text"].startswith(prompt) == echo for choice in reply["choices"])
        assert http.get("/health").status_code == 200  # a reply is in the log when the next request is answered
        assert read_traffic(live.home).set_index("id").loc[reply["id"]]["text"] == "\n".join([prompt] * count)


def test_feedback_and_traffic_are_logged(http, live):
    reply = http.post("/v1/chat/completions", json={"model": "llm-assets-route", "messages": ask(TEXT)}).json()
    probe = http.post(
        "/v1/chat/completions",
        json={"model": "llm-assets-route", "messages": ask(TEXT)},
        headers={"x-llm-assets-probe": "canary"},
    ).json()
    given = http.post("/v1/feedback", json={"id": reply["id"], "rating": "down", "correction": "tables"})
    assert given.status_code == 200
    assert http.post("/v1/feedback", json={"id": "chatcmpl-none", "rating": "up"}).status_code == 404
    assert http.post("/v1/feedback", json={"id": reply["id"], "rating": "sideways"}).status_code == 400
    assert http.post("/v1/feedback", json={"id": reply["id"]}).status_code == 400

    rows = read_traffic(live.home).set_index("id")
    row = rows.loc[reply["id"]]
    assert (row["text"], row["reply"], row["task"], row["status"]) == (TEXT, LABEL, "route", 200)
    assert (row["rating"], row["correction"], row["digest"]) == ("down", "tables", "good-digest")
    assert row["latency_ms"] >= row["ttft_ms"] > 0
    assert probe["id"] not in rows.index
    assert json.dumps(rows["text"].tolist())


def test_nobody_waits_while_the_log_is_searched(live, monkeypatch):
    """Whoever names a reply that is not there has all of it read: in a thread of its own."""
    with TestClient(build_app(live.home, ServingConfig(), 1)) as client:
        headers = {"authorization": f"Bearer {live.api_key()}"}
        searching, go_on, known = threading.Event(), threading.Event(), TrafficLog.known

        def slow(log: TrafficLog, name: str) -> bool:
            searching.set()
            assert go_on.wait(60)
            return known(log, name)

        monkeypatch.setattr(TrafficLog, "known", slow)
        found: list[int] = []
        asked = {"id": "chatcmpl-none", "rating": "up"}
        waiting = threading.Thread(
            target=lambda: found.append(client.post("/v1/feedback", json=asked, headers=headers).status_code)
        )
        waiting.start()
        assert searching.wait(60) and client.get("/live").status_code == 200 and not found
        go_on.set()
        waiting.join()
        assert found == [404]
