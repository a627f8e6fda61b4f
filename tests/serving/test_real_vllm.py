"""What vLLM itself computes for the endpoint, beside our own engine on the same weights.

`make test-vllm` installs a build of vLLM that runs on CPUs, and runs these tests.
"""

from __future__ import annotations

import json

import httpx
import openai
import pytest
import tiny_package
from real_vllm import LONG, NEEDED, VLLM, address_of, ask, client_of, endpoint_before, start, vllm_of
from waiting import until

from llm_assets.errors import UserError
from llm_assets.serving.config import BackendConfig

pytestmark = NEEDED
SCHEMA = {
    "type": "object",
    "properties": {"n": {"enum": [1, 22]}, "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2}},
    "required": ["n", "tags"],
    "additionalProperties": False,
}
NAMED = {"type": "json_schema", "json_schema": {"name": "n", "schema": SCHEMA}}


@pytest.fixture(scope="module")
def front(shipped, tmp_path_factory):
    """The good model behind vLLM."""
    made = endpoint_before(BackendConfig(vllm=VLLM), tmp_path_factory.mktemp("front"))
    try:
        start(made, shipped["good"])
        yield made
    finally:
        made.stop()


def same(got, wanted, what):
    """Choices of a chat, log-probabilities to what 32 bits in another order make of them."""
    assert (got.message, got.finish_reason) == (wanted.message, wanted.finish_reason), what
    told, others = (each.logprobs.content if each.logprobs else [] for each in (got, wanted))
    for one, other in zip(told, others, strict=True):
        assert (one.token, one.bytes) == (other.token, other.bytes), what
        assert one.logprob == pytest.approx(other.logprob, abs=1e-3), what
        assert [top.token for top in one.top_logprobs] == [top.token for top in other.top_logprobs], what


def test_its_greedy_replies_are_those_of_the_engine(front, live):
    eos = {"ignore_eos": True}
    with client_of(front) as through, client_of(live) as direct:
        for text, label in tiny_package.ROWS:
            reply = ask(through, text, "llm-assets-route")
            assert (reply.choices[0].message.content, reply.system_fingerprint) == (label, "good-digest")
        for more in (
            {},
            {"max_tokens": 1},
            {"stop": ["ay"], "logprobs": True, "top_logprobs": 20},
            {"logit_bias": {"70": 100}, "max_tokens": 4},
            {"logprobs": True, "top_logprobs": 3},
            {"extra_body": eos, "max_tokens": 40, "logprobs": True},
            {"extra_body": {"min_tokens": 6, "repetition_penalty": 1.5}, "max_tokens": 20, "logprobs": True},
            {"extra_body": eos, "presence_penalty": 1.5, "frequency_penalty": 1.1, "max_tokens": 30, "logprobs": True},
            {"extra_body": eos | {"repetition_penalty": 10}, "frequency_penalty": -2, "max_tokens": 10},
            {"extra_body": {"top_k": 1, "min_p": 0.1}, "temperature": 1, "seed": 3},
        ):
            asked = {"temperature": 0} | more
            got, wanted = ask(through, **asked), ask(direct, **asked)
            same(got.choices[0], wanted.choices[0], more)
            assert got.usage == wanted.usage, more
        for prompt in ("join two", ["join two", "a key"], [5, 6, 7], [[5, 6], [7]]):
            for more in ({"logprobs": 2}, {"echo": True}, {"n": 2}):
                asked = {"model": "llm-assets", "prompt": prompt, "temperature": 0, "max_tokens": 4} | more
                got, wanted = through.completions.create(**asked), direct.completions.create(**asked)
                assert [each.text for each in got.choices] == [each.text for each in wanted.choices], asked
                assert got.usage == wanted.usage, asked


def test_what_it_draws_is_the_seeds(front):
    drawn = {"temperature": 1.5, "max_tokens": 12, "n": 3}
    with client_of(front) as client:
        one, two, other = ([each.message.content for each in ask(client, **drawn, seed=s).choices] for s in (4, 4, -5))
        assert one == two != other and len(set(one)) > 1
        whole = ask(client, temperature=1.5, seed=9, max_tokens=30)
        streamed = {"stream": True, "stream_options": {"include_usage": True}}
        chunks = list(ask(client, temperature=1.5, seed=9, max_tokens=30, **streamed))
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(texts) == whole.choices[0].message.content and chunks[-1].usage == whole.usage


def test_constraints_hold(front, live):
    def outputs(**more):
        return {"extra_body": {"structured_outputs": more}}

    with client_of(front) as through, client_of(live) as direct:
        for more in (
            outputs(choice=["numpy", "pandas"]),
            outputs(choice=["é", "日本"]),
            outputs(regex=r"\d{3}-(?i)[a-f]{2}"),
            {"response_format": NAMED},
        ):
            asked = {"temperature": 0, "max_tokens": 60} | more
            got, wanted = ask(through, **asked).choices[0], ask(direct, **asked).choices[0]
            if more == {"response_format": NAMED}:  # white space, which our engine leaves to the model, is left out
                got, wanted = (json.loads(each.message.content) for each in (got, wanted))
            assert got == wanted, more
        hot = ask(through, temperature=2, seed=1, max_tokens=100, response_format=NAMED).choices[0]
        assert hot.finish_reason == "stop" and json.loads(hot.message.content)["n"] in (1, 22)
        for wrong in ("(", "a(?=b)b"):
            with pytest.raises(openai.BadRequestError, match="regex"):
                ask(through, temperature=0, **outputs(regex=wrong))


def test_the_endpoint_logs_and_counts_as_ever(front):
    from llm_assets.serving.traffic import read_traffic

    with client_of(front) as client:
        reply = ask(client, model="llm-assets-route")
        with pytest.raises(openai.BadRequestError, match="context is 256 tokens"):
            ask(client, "two tables " * 200)
    headers = {"authorization": f"Bearer {front.api_key()}"}
    given = httpx.post(f"{front.url}/v1/feedback", headers=headers, json={"id": reply.id, "rating": "up"})
    assert given.status_code == 200
    row = read_traffic(front.home).set_index("id").loc[reply.id]
    assert (row["reply"], row["rating"], row["digest"], row["task"]) == ("arrays", "up", "good-digest", "route")
    assert "vllm:time_to_first_token_seconds_count{" in httpx.get(f"{front.url}/metrics").text


def test_it_can_be_a_server_that_runs_already(front, shipped, tmp_path, monkeypatch):
    process = vllm_of(front)
    assert httpx.get(f"{address_of(process)}/v1/models").status_code == 401
    monkeypatch.setenv("UPSTREAM_KEY", process.environ()["VLLM_API_KEY"])
    backend = BackendConfig(url=f"{address_of(process)}/v1", api_key_env="UPSTREAM_KEY")
    other = endpoint_before(backend, tmp_path / "home")
    try:
        start(other, shipped["good"])
        assert other.ask("follow a redirect") == "web"
        other.deploy(shipped["worse"], "worse-digest")
        with pytest.raises(UserError, match="--served-model-name worse-digest"):
            other.wait_serving("worse-digest")
    finally:
        other.stop()


def test_a_client_that_leaves_frees_its_place_there(front):
    def count(name):
        lines = httpx.get(f"{address_of(vllm_of(front))}/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    before = count("vllm:generation_tokens_total")
    with client_of(front) as client:
        for _ in range(3):
            with ask(client, **LONG) as stream:
                for _, _ in zip(range(4), stream, strict=False):
                    pass
    until(lambda: not count("vllm:num_requests_"), "vLLM has nothing to do", 20, pause=0.05)
    assert 0 < count("vllm:generation_tokens_total") - before < 3 * LONG["max_tokens"]
