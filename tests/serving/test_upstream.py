"""The model behind another server: a second process of this very server, which speaks the same protocol."""

from __future__ import annotations

import httpx
import openai
import pytest
import tiny_package
from tiny_package import free_port
from waiting import until

from llm_assets.errors import UserError
from llm_assets.serving.config import BackendConfig, ServingConfig
from resources.endpoint import Endpoint

TEXT = "multiply two matrices"


def front_of(url, home, **backend):
    settings = ServingConfig(port=free_port(), start_seconds=30, backend=BackendConfig(url=url, **backend))
    return Endpoint(home, settings, threads=1)


@pytest.fixture(scope="module")
def front(live, packages, tmp_path_factory):
    """An endpoint that has `live` compute its tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPSTREAM_KEY", live.api_key())
        made = front_of(
            f"{live.url}/v1", tmp_path_factory.mktemp("front"), model="llm-assets", api_key_env="UPSTREAM_KEY"
        )
        made.deploy(packages["good"], "front-digest")
        made.start()
        made.wait_serving("front-digest")
        yield made
        made.stop(seconds=3)


def client_of(endpoint):
    return openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.api_key(), max_retries=0)


def ask(client, text=TEXT, model="llm-assets", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def test_replies_are_those_of_the_engine(front, live):
    with client_of(front) as through, client_of(live) as direct:
        for text, label in tiny_package.ROWS:
            reply = ask(through, text, "llm-assets-route")
            assert reply.choices[0].message.content == label
            assert reply.system_fingerprint == "front-digest"
        for more in (
            {"temperature": 0},
            {"temperature": 1.5, "seed": 4, "top_p": 0.9, "max_tokens": 12},
            {"temperature": 0, "stop": ["ay"]},
            {"temperature": 0, "max_tokens": 1},
            {"temperature": 0, "logit_bias": {"70": 100}, "max_tokens": 4},
            {"temperature": 1.2, "seed": 4, "extra_body": {"top_k": 3, "repetition_penalty": 1.3}, "max_tokens": 12},
        ):
            got, wanted = ask(through, **more), ask(direct, **more)
            assert got.choices == wanted.choices and got.usage == wanted.usage, more
        two = ask(through, temperature=1.5, seed=4, n=2, max_tokens=12).choices
        assert two[0].message != two[1].message
        prompt = {"model": "llm-assets", "prompt": "join two", "temperature": 0, "max_tokens": 6}
        assert through.completions.create(**prompt).choices == direct.completions.create(**prompt).choices


def test_streams_pass_through_with_their_usage(front):
    with client_of(front) as client:
        whole = ask(client, temperature=1.5, seed=9, max_tokens=30)
        options = {"include_usage": True}
        chunks = list(ask(client, temperature=1.5, seed=9, max_tokens=30, stream=True, stream_options=options))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content and chunks[-1].usage == whole.usage


def test_logprobs_and_constraints_are_the_other_servers(front, live):
    number = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"enum": [7, 42]}}}
    with client_of(front) as through, client_of(live) as direct:
        for more in (
            {"logprobs": True, "top_logprobs": 3},
            {"logprobs": True, "temperature": 1.3, "seed": 2},
            {"logprobs": True, "top_logprobs": 20, "stop": ["ay"]},
            {"response_format": number},
            {"response_format": {"type": "json_object"}, "max_tokens": 40},
            {"extra_body": {"structured_outputs": {"regex": "[0-9]{3}-[a-f]{2}"}}, "temperature": 1, "seed": 5},
            {"extra_body": {"structured_outputs": {"choice": ["numpy", "pandas"]}}, "logprobs": True},
        ):
            asked = {"temperature": 0, "max_tokens": 12} | more
            got, wanted = ask(through, **asked).choices[0], ask(direct, **asked).choices[0]
            assert got == wanted, more
            chunks = [chunk.choices[0] for chunk in ask(through, **asked, stream=True)]
            assert "".join(chunk.delta.content or "" for chunk in chunks) == wanted.message.content
            told = [entry for chunk in chunks if chunk.logprobs for entry in chunk.logprobs.content]
            assert told == (wanted.logprobs.content if wanted.logprobs else [])
        with pytest.raises(openai.BadRequestError, match="'structured_outputs' cannot be used"):
            ask(through, extra_body={"structured_outputs": {"regex": "("}})
        with pytest.raises(openai.BadRequestError, match="use 'structured_outputs'"):
            ask(through, extra_body={"guided_regex": "a"})  # as vLLM itself has it since 0.12


def test_the_front_logs_and_counts(front):
    from llm_assets.serving.traffic import read_traffic

    with client_of(front) as client:
        reply = ask(client, model="llm-assets-route")
    headers = {"authorization": f"Bearer {front.api_key()}"}
    given = httpx.post(f"{front.url}/v1/feedback", headers=headers, json={"id": reply.id, "rating": "up"})
    assert given.status_code == 200
    row = read_traffic(front.home).set_index("id").loc[reply.id]
    assert (row["reply"], row["rating"], row["digest"], row["task"]) == ("arrays", "up", "front-digest", "route")
    assert "vllm:time_to_first_token_seconds_count{" in httpx.get(f"{front.url}/metrics").text


def test_a_client_that_leaves_frees_the_other_servers_slot(front, live):
    headers = {"authorization": f"Bearer {front.api_key()}"}
    body = {"model": "llm-assets", "messages": [{"role": "user", "content": "on and on"}], "temperature": 2.0}
    body |= {"max_tokens": 200, "stream": True, "ignore_eos": True}
    for _ in range(3):
        with httpx.stream("POST", f"{front.url}/v1/chat/completions", headers=headers, json=body) as reply:
            next(reply.iter_lines())

    def running(endpoint):
        lines = httpx.get(f"{endpoint.url}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:num_requests_"))

    until(lambda: running(front) + running(live) == 0, "both servers are idle", seconds=10, pause=0.05)


def test_a_package_waits_for_its_model_to_be_there(live, packages, tmp_path, monkeypatch):
    """Without a name of its own, the model is asked for by the package's digest, which this server does not have."""
    monkeypatch.setenv("UPSTREAM_KEY", live.api_key())
    made = front_of(f"{live.url}/v1", tmp_path / "home", api_key_env="UPSTREAM_KEY")
    try:
        made.deploy(packages["good"], "another-digest")
        made.start()
        with pytest.raises(UserError, match="--served-model-name another-digest"):
            made.wait_serving("another-digest")
    finally:
        made.stop(seconds=3)


def test_a_server_that_has_gone_is_502(packages, tmp_path):
    behind = Endpoint(tmp_path / "behind", ServingConfig(port=free_port(), start_seconds=30), threads=1)
    behind.deploy(packages["good"], "good-digest")
    behind.start()
    behind.wait_serving("good-digest")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPSTREAM_KEY", behind.api_key())
        made = front_of(f"{behind.url}/v1", tmp_path / "home", model="llm-assets", api_key_env="UPSTREAM_KEY")
        try:
            made.deploy(packages["good"], "good-digest")
            made.start()
            made.wait_serving("good-digest")
            behind.stop(seconds=3)
            with client_of(made) as client, pytest.raises(openai.InternalServerError) as gone:
                ask(client)
            assert gone.value.status_code == 502 and gone.value.code == "upstream_error"
        finally:
            made.stop(seconds=3)
            behind.stop(seconds=3)
