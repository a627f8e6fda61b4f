"""Every supported parameter through the official client: sync, async and streaming."""

from __future__ import annotations

import asyncio
import inspect
import json
import math

import httpx
import openai
import pytest
import tiny_package
from pydantic import BaseModel

TEXT, LABEL = tiny_package.ROWS[0]
ASK = [{"role": "user", "content": TEXT}]
RAW = f"<|user|>{TEXT}<|assistant|>"


@pytest.fixture(scope="module")
def client(live):
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.api_key(), max_retries=0) as made:
        yield made


def chat(client, **more):
    return client.chat.completions.create(model="llm-assets", **({"messages": ASK, "temperature": 0} | more))


def text(reply) -> str:
    return reply.choices[0].message.content


class Answer(BaseModel):
    label: str
    sure: bool


class Digit(BaseModel):
    digit: int


def drained(stream) -> str:
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


# What is asked, sent both whole and as a stream: (parameters, extra_body).
ASKED = [
    {"max_tokens": 3},
    {"max_completion_tokens": 3},
    {"temperature": 1.5, "seed": 7, "max_tokens": 20},
    {"temperature": 1.5, "seed": 7, "top_p": 0.5, "max_tokens": 20},
    {"temperature": 1.5, "seed": 7, "extra_body": {"top_k": 5}, "max_tokens": 20},
    {"temperature": 1.5, "seed": 7, "extra_body": {"min_p": 0.1}, "max_tokens": 20},
    {"extra_body": {"repetition_penalty": 1.5}, "max_tokens": 20},
    {"presence_penalty": 2, "max_tokens": 20},
    {"frequency_penalty": 2, "max_tokens": 20},
    {"logit_bias": {"40": 100}, "max_tokens": 5},
    {"stop": "ay"},
    {"stop": ["zz", "ra"]},
    {"extra_body": {"min_tokens": 8}, "max_tokens": 20},
    {"extra_body": {"ignore_eos": True}, "max_tokens": 20},
    {"response_format": {"type": "text"}},
    {"response_format": {"type": "json_object"}, "max_tokens": 40, "temperature": 1, "seed": 2},
    {"extra_body": {"structured_outputs": {"choice": ["tables", "web"]}}},
    {"extra_body": {"structured_outputs": {"regex": "[a-z]{3}"}}},
    {"n": 3, "temperature": 1.5, "seed": 1, "max_tokens": 10},
    {"logprobs": True, "top_logprobs": 3, "max_tokens": 5},
    {"user": "me", "metadata": {"a": "b"}, "safety_identifier": "x"},
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: ",".join(asked) + "".join(asked.get("extra_body", {})))
def test_each_parameter_whole_streamed_and_async_is_the_same(client, live, asked):
    whole = chat(client, **asked)
    texts = [""] * len(whole.choices)
    for chunk in chat(client, stream=True, **asked):
        texts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
    assert texts == [choice.message.content for choice in whole.choices]

    async def both():
        async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key=live.api_key(), max_retries=0) as many:
            reply = await chat(many, **asked)
            parts = [""] * len(reply.choices)
            async for chunk in await chat(many, stream=True, **asked):
                parts[chunk.choices[0].index] += chunk.choices[0].delta.content or ""
            return [choice.message.content for choice in reply.choices], parts

    assert asyncio.run(both()) == (texts, texts)


def test_each_parameter_has_its_effect(client):
    def get(**more) -> str:
        return text(chat(client, **more))

    assert get() == LABEL
    wild = get(temperature=2, seed=3, max_tokens=30)
    assert get(temperature=2, seed=3, top_p=1e-9, max_tokens=30) == LABEL != wild
    assert get(temperature=2, seed=3, extra_body={"top_k": 1}, max_tokens=30) == LABEL
    assert get(temperature=2, seed=3, extra_body={"min_p": 1}, max_tokens=30) == LABEL
    assert get(temperature=1e-9, seed=3) == LABEL
    first = chat(client, logprobs=True, max_tokens=1).choices[0].logprobs.content[0].token
    ids = httpx.post(
        f"{str(client.base_url).removesuffix('v1/')}tokenize",
        json={"prompt": first},
        headers={"authorization": f"Bearer {client.api_key}"},
    ).json()["tokens"]
    assert not get(logit_bias={str(ids[0]): -100}).startswith(first)
    assert get(logit_bias={"40": 100}, max_tokens=3) != LABEL
    end = chat(client, extra_body={"ignore_eos": True}, max_tokens=20)
    assert end.choices[0].finish_reason == "length" and end.usage.completion_tokens == 20
    least = chat(client, extra_body={"min_tokens": 9}, max_tokens=20)
    assert least.usage.completion_tokens >= 9
    again = {"extra_body": {"ignore_eos": True}, "max_tokens": 40}
    plain = get(**again)
    for penalty in ({"presence_penalty": 2}, {"frequency_penalty": 2}):
        assert get(**again, **penalty) != plain
    assert get(extra_body={"ignore_eos": True, "repetition_penalty": 3}, max_tokens=40) != plain


def test_tokens_named_by_their_ids(client, packages):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(packages["good"] / "tokenizer.json"))
    asked = {"model": "llm-assets", "prompt": "join two", "temperature": 0, "max_tokens": 6, "logprobs": 2}
    plain = client.completions.create(**asked).choices[0]
    named = client.completions.create(**asked, extra_body={"return_tokens_as_token_ids": True}).choices[0]
    ids = [int(name.removeprefix("token_id:")) for name in named.logprobs.tokens]
    assert tokenizer.decode(ids) == "".join(plain.logprobs.tokens) == plain.text
    assert all(name in top for name, top in zip(named.logprobs.tokens, named.logprobs.top_logprobs, strict=True))
    assert named.logprobs.token_logprobs == plain.logprobs.token_logprobs


def test_logprobs_of_a_chat(client):
    choice = chat(client, logprobs=True, top_logprobs=4).choices[0]
    content = choice.logprobs.content
    assert b"".join(bytes(told.bytes) for told in content).decode() == choice.message.content
    for told in content:
        assert told.logprob <= 0 and len(told.top_logprobs) == 4
        assert told.top_logprobs[0].token == told.token, "greedy takes the likeliest"
        ranked = [other.logprob for other in told.top_logprobs]
        assert ranked == sorted(ranked, reverse=True) and sum(map(math.exp, ranked)) <= 1.0001
    bare = chat(client, logprobs=True).choices[0].logprobs.content
    assert [told.logprob for told in bare] == [told.logprob for told in content]
    assert all(told.top_logprobs == [] for told in bare)
    assert chat(client).choices[0].logprobs is None


def test_logprobs_of_a_stream(client):
    whole = chat(client, logprobs=True, top_logprobs=2).choices[0].logprobs.content
    chunks = list(chat(client, logprobs=True, top_logprobs=2, stream=True))
    told = [one for chunk in chunks if (found := chunk.choices[0].logprobs) for one in found.content]
    assert told == whole


def test_logprob_events_of_the_client(client):
    tokens = []
    with client.chat.completions.stream(model="llm-assets", messages=ASK, temperature=0, logprobs=True) as stream:
        for event in stream:
            if event.type == "logprobs.content.delta":
                tokens += event.content
        final = stream.get_final_completion()
    assert "".join(told.token for told in tokens) == final.choices[0].message.content == LABEL


def test_logprobs_of_completions(client):
    reply = client.completions.create(model="llm-assets", prompt=[RAW, RAW + "t"], temperature=0, logprobs=2)
    for choice in reply.choices:
        told = choice.logprobs
        assert "".join(told.tokens) == choice.text
        assert [choice.text[at:].startswith(token) for at, token in zip(told.text_offset, told.tokens, strict=True)]
        assert told.text_offset[0] == 0 and len(told.top_logprobs) == len(told.tokens) == len(told.token_logprobs)
        assert all(top[token] == logprob for token, logprob, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True))  # fmt: skip  # noqa: E501
    streamed = client.completions.create(model="llm-assets", prompt=RAW, temperature=0, logprobs=2, stream=True)
    parts = [found for chunk in streamed if (found := chunk.choices[0].logprobs)]
    assert [at for part in parts for at in part.text_offset] == reply.choices[0].logprobs.text_offset
    none = client.completions.create(model="llm-assets", prompt=RAW, temperature=0, logprobs=0)
    assert none.choices[0].logprobs.top_logprobs is None and none.choices[0].logprobs.tokens


def test_characters_of_several_tokens_come_whole(client):
    word = "é😀日本"
    extra = {"structured_outputs": {"choice": [word]}}
    chunks = list(chat(client, stream=True, logprobs=True, extra_body=extra))
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices[0].delta.content]
    assert "".join(pieces) == word and "\ufffd" not in "".join(pieces)
    told = [one for chunk in chunks if (found := chunk.choices[0].logprobs) for one in found.content]
    assert b"".join(bytes(one.bytes) for one in told).decode() == word
    assert told[0].token == "bytes:\\xc3" and told[0].bytes == [0xC3]


def test_schemas_are_parsed_by_the_client(client):
    for seed in range(20):
        try:
            reply = client.chat.completions.parse(
                model="llm-assets", messages=ASK, temperature=1.5, seed=seed, response_format=Answer, max_tokens=150
            )
        except openai.LengthFinishReasonError:
            continue
        assert isinstance(reply.choices[0].message.parsed, Answer)
        break
    else:
        pytest.fail("no reply was ended within 150 tokens")
    with pytest.raises(openai.LengthFinishReasonError):
        client.chat.completions.parse(model="llm-assets", messages=ASK, response_format=Answer, max_tokens=2)
    with client.chat.completions.stream(
        model="llm-assets", messages=ASK, temperature=1, seed=1, response_format=Digit, max_tokens=100, n=2
    ) as stream:
        final = stream.get_final_completion()
    assert [type(choice.message.parsed) for choice in final.choices] == [Digit, Digit]


def test_several_choices_are_several(client):
    reply = chat(client, n=4, temperature=2, seed=5, max_tokens=20)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    assert len({choice.message.content for choice in reply.choices}) > 1
    chunks = list(chat(client, n=4, temperature=2, seed=5, max_tokens=20, stream=True))
    assert sorted(c.choices[0].index for c in chunks if c.choices[0].finish_reason) == [0, 1, 2, 3]


def test_usage_of_a_stream(client):
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}, n=2))
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert chunks[-1].choices == [] and chunks[-1].usage == chat(client, n=2).usage
    assert all(chunk.usage is None for chunk in chat(client, stream=True))


def test_prompts_as_token_ids(client, live):
    def tokens(prompt: str) -> list[int]:
        headers = {"authorization": f"Bearer {live.api_key()}"}
        return httpx.post(f"{live.url}/tokenize", json={"prompt": prompt}, headers=headers).json()["tokens"]

    ids = tokens(RAW)
    one = client.completions.create(model="llm-assets", prompt=ids, temperature=0)
    assert one.choices[0].text == LABEL and one.usage.prompt_tokens == len(ids)
    two = client.completions.create(model="llm-assets", prompt=[ids, ids], temperature=0)
    assert [choice.text for choice in two.choices] == [LABEL, LABEL]
    for wrong, model in (([10**6], "llm-assets"), ([-1], "llm-assets"), (ids, "llm-assets-route")):
        with pytest.raises(openai.BadRequestError) as error:
            client.completions.create(model=model, prompt=wrong)
        assert error.value.param.startswith("prompt")


def test_echo(client):
    asked = {"model": "llm-assets", "prompt": [RAW, RAW], "temperature": 0, "echo": True}
    assert [choice.text for choice in client.completions.create(**asked).choices] == [RAW + LABEL] * 2
    texts = ["", ""]
    for chunk in client.completions.create(**asked, stream=True):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == [RAW + LABEL] * 2


def test_tokenize_and_detokenize(client, live):
    with httpx.Client(base_url=live.url, headers={"authorization": f"Bearer {live.api_key()}"}) as http:
        given = http.post("/tokenize", json={"messages": ASK, "return_token_strs": True}).json()
        assert given["count"] == len(given["tokens"]) == len(given["token_strs"])
        assert given["count"] == chat(client).usage.prompt_tokens and given["max_model_len"] == 256
        assert http.post("/detokenize", json={"tokens": given["tokens"]}).json() == {"prompt": RAW}
        bare = http.post("/tokenize", json={"model": "llm-assets-summarise", "prompt": TEXT}).json()
        assert "Summarise" in http.post("/detokenize", json={"tokens": bare["tokens"]}).json()["prompt"]
        for body in ({"prompt": "x", "messages": ASK}, {}, {"prompt": 5}, {"prompt": "x", "model": "gpt-4"}):
            assert http.post("/tokenize", json=body).status_code in (400, 404)
        assert http.post("/detokenize", json={"tokens": [10**6]}).json()["error"]["param"] == "tokens"


# What the client's own `create` takes and this server does not carry out.
REFUSED = {
    "audio": {"format": "wav", "voice": "alloy"},
    "function_call": "auto",
    "functions": [{"name": "f"}],
    "modalities": ["text", "audio"],
    "moderation": {"model": "omni-moderation-latest"},
    "prediction": {"type": "content", "content": "x"},
    "prompt_cache_key": "k",
    "prompt_cache_options": {"mode": "explicit"},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "low",
    "service_tier": "flex",
    "store": True,
    "tool_choice": "required",
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "verbosity": "low",
    "web_search_options": {},
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_parameters_of_the_client_are_refused_by_name(client, name):
    with pytest.raises(openai.BadRequestError) as error:
        chat(client, **{name: REFUSED[name]})
    assert (error.value.param, error.value.code) == (name, "unsupported_parameter")
    assert error.value.type == "invalid_request_error" and error.value.request_id


def test_no_parameter_of_the_client_is_forgotten(client):
    """Each that its `create` has, as installed, is asked for here, or refused, or takes one value only."""
    of_the_client = {"extra_headers", "extra_query", "extra_body", "timeout"}
    done = {name for asked in ASKED for name in asked} | {"stream", "stream_options"}
    names = inspect.signature(client.chat.completions.create).parameters.keys() - of_the_client
    assert names == (done | REFUSED.keys() | {"model", "messages", "parallel_tool_calls"}) - of_the_client
    names = inspect.signature(client.completions.create).parameters.keys() - of_the_client
    assert names <= done | {"model", "prompt", "echo", "best_of", "suffix"}
    for name, value in (("best_of", 2), ("suffix", "x")):
        with pytest.raises(openai.BadRequestError) as error:
            client.completions.create(model="llm-assets", prompt=RAW, **{name: value})
        assert (error.value.param, error.value.code) == (name, "unsupported_parameter")


OF_CHAT = {"max_completion_tokens", "logprobs"}  # as chat has them
OF_COMPLETIONS = [
    *(asked for asked in ASKED if not OF_CHAT & asked.keys() and "metadata" not in asked),
    {"logprobs": 2, "max_tokens": 5},
    {"echo": True, "max_tokens": 5},
    {"user": "me", "extra_body": {"metadata": {"a": "b"}}},
]


@pytest.mark.parametrize("asked", OF_COMPLETIONS, ids=lambda asked: ",".join([*asked, *asked.get("extra_body", {})]))
def test_completions_take_them_too(client, live, asked):
    """Whole, streamed and async are the same; and what is asked of a chat's text has the chat's reply."""
    extra = dict(asked.get("extra_body", {}))
    plain = {name: value for name, value in asked.items() if name != "extra_body"}
    if "response_format" in plain:
        extra["response_format"] = plain.pop("response_format")
    given = {"model": "llm-assets", "prompt": RAW, "temperature": 0} | plain | {"extra_body": extra}
    whole = [choice.text for choice in client.completions.create(**given).choices]
    parts = [""] * len(whole)
    for chunk in client.completions.create(**given, stream=True):
        parts[chunk.choices[0].index] += chunk.choices[0].text

    async def both():
        async with openai.AsyncOpenAI(base_url=f"{live.url}/v1", api_key=live.api_key(), max_retries=0) as many:
            reply = await many.completions.create(**given)
            texts = [""] * len(reply.choices)
            async for chunk in await many.completions.create(**given, stream=True):
                texts[chunk.choices[0].index] += chunk.choices[0].text
            return [choice.text for choice in reply.choices], texts

    assert parts == whole and asyncio.run(both()) == (whole, whole)
    if "echo" not in asked and "logprobs" not in asked:
        assert whole == [choice.message.content for choice in chat(client, **asked).choices]


@pytest.mark.parametrize(
    ("extra", "param"),
    [
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"100000": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": {str(at): 1 for at in range(301)}}, "logit_bias"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"min_p": 2}, "min_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_p": 0}, "top_p"),
        ({"min_tokens": 100, "max_tokens": 5}, "min_tokens"),
        ({"seed": 2**64}, "seed"),
        ({"stop": ["x" * 257]}, "stop"),
        ({"stop": ""}, "stop"),
        ({"ignore_eos": "yes"}, "ignore_eos"),
        ({"temperature": True}, "temperature"),
        ({"best_of": 2}, "best_of"),
        ({"prompt_logprobs": 1}, "prompt_logprobs"),
        ({"guided_regex": "a"}, "guided_regex"),
    ],
)
def test_values_out_of_bounds_are_refused_by_name(client, extra, param):
    with pytest.raises(openai.BadRequestError) as error:
        chat(client, extra_body=extra)
    assert error.value.param == param


def test_the_clients_timeout_is_a_deadline(live):
    """A client that waits 1 ms gets its 504 from the server, which did not go on for it."""
    headers = {"authorization": f"Bearer {live.api_key()}", "x-stainless-read-timeout": "0.001"}
    body = {"model": "llm-assets", "messages": ASK, "temperature": 2, "max_tokens": 200, "ignore_eos": True}
    reply = httpx.post(f"{live.url}/v1/chat/completions", json=body, headers=headers)
    assert reply.status_code == 504 and reply.json()["error"]["code"] == "deadline_exceeded"
    headers = {"authorization": headers["authorization"], "x-envoy-expected-rq-timeout-ms": "1"}
    with httpx.stream("POST", f"{live.url}/v1/chat/completions", json=body | {"stream": True}, headers=headers) as made:
        last = [line for line in made.iter_lines() if line][-1]
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "deadline_exceeded"
    with openai.OpenAI(base_url=f"{live.url}/v1", api_key=live.api_key(), max_retries=0) as client:
        hasty = {"x-envoy-expected-rq-timeout-ms": "1"}
        with pytest.raises(openai.APIError) as error:
            whole = {"ignore_eos": True}
            list(chat(client, stream=True, temperature=2, max_tokens=200, n=8, extra_headers=hasty, extra_body=whole))
        assert error.value.code == "deadline_exceeded"
        nonsense = {"x-stainless-read-timeout": "soon", "x-envoy-expected-rq-timeout-ms": "-5"}
        assert text(chat(client, extra_headers=nonsense)) == LABEL
