"""Constrained decoding: what a finished reply is, whatever the model would rather say."""

from __future__ import annotations

import json
import re
import string

import httpx
import jsonschema
import numpy as np
import pytest
import tiny_package
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.serving.constraints import TokenMatcher, compile_constraint
from llm_assets.serving.package import load_served
from llm_assets.serving.patterns import ascii_classes, ascii_schema
from llm_assets.serving.sampling import Constraint
from llm_assets.serving.vocabulary import vocabulary

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "age": {"type": "integer", "minimum": 0, "maximum": 99},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}
quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def http(live):
    with httpx.Client(base_url=live.url, headers={"authorization": f"Bearer {live.api_key()}"}, timeout=30) as made:
        yield made


def ask(http, what: dict, **more) -> list[dict]:
    """The choices of four replies that are all but random."""
    body = {"model": "llm-assets", "messages": [{"role": "user", "content": "any"}], "temperature": 2, "n": 4}
    reply = http.post("/v1/chat/completions", json=body | {"max_tokens": 150} | what | more)
    assert reply.status_code == 200, reply.text
    return reply.json()["choices"]


def finished(choices: list[dict]) -> list[str]:
    assert {choice["finish_reason"] for choice in choices} <= {"stop", "length"}
    return [choice["message"]["content"] for choice in choices if choice["finish_reason"] == "stop"]


def by_schema(schema: dict, name: str = "answer") -> dict:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": name, "schema": schema}}}


def test_every_kind_of_constraint_is_kept_and_can_end(http):
    for seed in range(5):
        for text in finished(ask(http, by_schema(PERSON), seed=seed)):
            jsonschema.validate(json.loads(text), PERSON)
        [*texts] = finished(ask(http, {"structured_outputs": {"choice": ["yes", "no", "maybe so"]}}, seed=seed))
        assert len(texts) == 4 and set(texts) <= {"yes", "no", "maybe so"}
        [*texts] = finished(ask(http, {"structured_outputs": {"regex": r"[a-f]{2,4}-\d{3}"}}, seed=seed))
        assert len(texts) == 4 and all(re.fullmatch(r"[a-f]{2,4}-\d{3}", text) for text in texts)
        for text in finished(ask(http, {"response_format": {"type": "json_object"}}, seed=seed)):
            assert isinstance(json.loads(text), dict)
        for given_as in (PERSON, json.dumps(PERSON)):
            [*texts] = finished(ask(http, {"structured_outputs": {"json": given_as}}, seed=seed))
            assert texts and all(jsonschema.validate(json.loads(text), PERSON) is None for text in texts)


def test_a_task_can_be_constrained_to_its_labels(http):
    for text, label in tiny_package.ROWS:
        body = {"model": "llm-assets-route", "messages": [{"role": "user", "content": text}]}
        wrong = [other for other in tiny_package.LABELS if other != label]
        reply = http.post("/v1/chat/completions", json=body | {"structured_outputs": {"choice": wrong}}).json()
        assert reply["choices"][0]["message"]["content"] in wrong


def test_what_ends_by_length_says_so(http):
    choices = ask(http, by_schema({"type": "array", "items": {"type": "integer"}, "minItems": 50}), max_tokens=5)
    assert [choice["finish_reason"] for choice in choices] == ["length"] * 4


def test_streams_are_constrained_too(http):
    body = {"model": "llm-assets", "prompt": "x", "temperature": 2, "max_tokens": 150, "stream": True, "seed": 3}
    body |= {"structured_outputs": {"json": PERSON}}
    with http.stream("POST", "/v1/completions", json=body) as stream:
        lines = [line.removeprefix("data: ") for line in stream.iter_lines() if line]
    assert lines[-1] == "[DONE]"
    choices = [json.loads(line)["choices"][0] for line in lines[:-1]]
    assert choices[-1]["finish_reason"] == "stop"
    jsonschema.validate(json.loads("".join(choice["text"] for choice in choices)), PERSON)


@pytest.mark.parametrize(
    ("what", "param", "why"),
    [
        (by_schema({"type": "strin"}), "response_format", "Invalid type: strin"),
        (by_schema({"not": {"type": "string"}}), "response_format", "not"),
        (by_schema({"type": "integer", "minimum": 5, "maximum": 4}), "response_format", "Unsatisfiable"),
        (by_schema({"$ref": "http://127.0.0.1:1/x.json"}), "response_format", "Default retriever"),
        (by_schema({"$ref": "file:///etc/passwd"}), "response_format", "Default retriever"),
        (by_schema({"$ref": "#"}), "response_format", "cannot be used"),
        (by_schema({"type": "string", "format": "nonsense"}), "response_format", "Unknown format"),
        (by_schema({"enum": ["x" * 40_000]}), "response_format", "larger than"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "is needed"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "json_object"),
        ({"structured_outputs": {"regex": "(a"}}, "structured_outputs", "unclosed group"),
        ({"structured_outputs": {"regex": "(?=a)b"}}, "structured_outputs", "look-around"),
        ({"structured_outputs": {"json": "{"}}, "structured_outputs", "cannot be used"),
        ({"structured_outputs": {"json": "true"}}, "structured_outputs", "is an object"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice", "at least 1"),
        ({"structured_outputs": {"choice": ["a", ""]}}, "structured_outputs.choice.1", "at least 1"),
        ({"structured_outputs": {}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs", "exactly one"),
        ({"structured_outputs": {"grammar": "start: x"}}, "structured_outputs.grammar", "unknown parameter"),
        ({"structured_outputs": {"regex": "a"}} | by_schema(PERSON), "structured_outputs", "both"),
        (by_schema(PERSON) | {"ignore_eos": True}, "ignore_eos", "combined"),
        (by_schema(PERSON) | {"min_tokens": 3}, "min_tokens", "combined"),
        ({"guided_json": {}}, "guided_json", "use 'structured_outputs'"),
    ],
)
def test_what_cannot_be_kept_to_is_refused_by_name(http, what, param, why):
    body = {"model": "llm-assets", "messages": [{"role": "user", "content": "any"}]}
    reply = http.post("/v1/chat/completions", json=body | what)
    error = reply.json()["error"]
    assert reply.status_code == 400 and error["param"] == param and why in error["message"], error


@pytest.mark.parametrize(
    "what",
    [
        {"structured_outputs": {"regex": "(a{1000}){1000}"}},
        {"structured_outputs": {"regex": "(?:a|aa|aaa|aaaa){5000}"}},
        {"structured_outputs": {"regex": r"((.{1,40}[a-m]){1,40}[n-z]){1,40}"}},
        by_schema({"allOf": [{"anyOf": [{"pattern": f"^a{i}b{j}"} for i in range(14)]} for j in range(4)]}),
        by_schema({"allOf": [{"anyOf": [{"properties": {f"{i}{j}": {}}} for i in range(10)]} for j in range(6)]}),
        by_schema({"type": "string", "pattern": "^((a{1,1000}){1,1000}){1,1000}$"}),
        by_schema({"type": "array", "items": {"type": "integer"}, "minItems": 10**9}),
    ],
)  # fmt: skip
def test_a_grammar_that_explodes_harms_nobody_else(http, what):
    """Refused, or given up on with an error, or kept: and the server goes on."""
    body = {"model": "llm-assets", "messages": [{"role": "user", "content": "any"}], "temperature": 2, "max_tokens": 60}
    reply = http.post("/v1/chat/completions", json=body | what)
    if reply.status_code != 200:
        assert reply.status_code == 400 and reply.json()["error"]["param"] in ("response_format", "structured_outputs")
    text, label = tiny_package.ROWS[0]
    route = {
        "model": "llm-assets-route",
        "messages": [{"role": "user", "content": text}],
        "seed": 1,
        "temperature": 0.01,
    }
    assert http.post("/v1/chat/completions", json=route).json()["choices"][0]["message"]["content"] == label


words = st.text(string.ascii_letters + ' _"\\é😀\n', min_size=1, max_size=6)
scalars = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.integers(-50, 50).flatmap(
        lambda low: st.integers(low, low + 100).map(lambda high: {"type": "integer", "minimum": low, "maximum": high})
    ),
    st.integers(0, 3).map(lambda low: {"type": "string", "minLength": low, "maxLength": low + 3}),
    st.sampled_from(["^[a-z]{2,3}$", "[0-9]+$", "^x.?y$"]).map(lambda p: {"type": "string", "pattern": p}),
    st.sampled_from(["date", "time", "uuid", "ipv4"]).map(lambda name: {"type": "string", "format": name}),
    st.lists(words | st.integers() | st.none() | st.booleans(), min_size=1, max_size=4).map(lambda v: {"enum": v}),
    words.map(lambda value: {"const": value}),
)


def nested(inner):
    def objects(properties: dict, required: int, more: bool) -> dict:
        names = list(properties)[:required]
        return {"type": "object", "properties": properties, "required": names, "additionalProperties": more}

    def arrays(items: dict, low: int) -> dict:
        return {"type": "array", "items": items, "minItems": low, "maxItems": low + 2}

    return st.one_of(
        st.builds(objects, st.dictionaries(words, inner, max_size=3), st.integers(0, 3), st.booleans()),
        st.builds(arrays, inner, st.integers(0, 2)),
        st.lists(inner, min_size=1, max_size=3).map(lambda kinds: {"anyOf": kinds}),
    )  # fmt: skip


@quick
@given(schema=st.recursive(scalars, nested, max_leaves=6), seed=st.integers(0, 2**32))
def test_any_finished_reply_is_valid_by_its_schema(http, schema, seed):
    for text in finished(ask(http, by_schema(schema), seed=seed)):
        jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(json.loads(text))


atoms = st.sampled_from(["a", "[b-e]", r"\d", "x?", "(?:yes|no)", "é", r"\.", "[^a-z]", "😀"])
regexes = st.lists(
    st.builds(lambda atom, many: f"(?:{atom}){many}", atoms, st.sampled_from(["", "?", "{2}", "{1,3}", "+"])),
    min_size=1,
    max_size=5,
).map("".join)


@quick
@given(regex=regexes, seed=st.integers(0, 2**32))
def test_any_finished_reply_matches_its_expression(http, regex, seed):
    for text in finished(ask(http, {"structured_outputs": {"regex": regex}}, seed=seed)):
        assert re.fullmatch(regex, text), (regex, text)


@quick
@given(choices=st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=5), seed=st.integers(0, 2**32))
def test_any_finished_reply_is_one_of_its_choices(http, choices, seed):
    texts = finished(ask(http, {"structured_outputs": {"choice": choices}}, seed=seed))
    assert len(texts) == 4 and set(texts) <= set(choices)


@pytest.mark.parametrize(
    ("regex", "same"),
    [
        (r"\d+", "[0-9]+"),
        (r"\\d", r"\\d"),
        (r"[\d.]\w", "[0-9.][0-9A-Za-z_]"),
        (r"[]\d]\D", "[]0-9][^0-9]"),
        (r"[^]\s]x", r"[^] \t\n\r\f\v]x"),
        (r"\p{L}\]\d", r"\p{L}\][0-9]"),
    ],
)
def test_classes_are_ascii(regex, same):
    assert ascii_classes(regex) == same


def test_only_patterns_of_a_schema_change():
    schema = {
        "properties": {"pattern": {"pattern": r"\d"}},
        "enum": [{"pattern": r"\d"}],
        "patternProperties": {r"\d": {}},
    }
    assert ascii_schema(schema) == {
        "properties": {"pattern": {"pattern": "[0-9]"}},
        "enum": [{"pattern": r"\d"}],
        "patternProperties": {"[0-9]": {}},
    }


@pytest.fixture(scope="module")
def served(packages):
    return load_served({"package": str(packages["good"]), "digest": "good-digest"}, 1)


def allowed(matcher: TokenMatcher, width: int) -> np.ndarray:
    logits = np.zeros(width, np.float32)
    matcher.mask(logits)
    return np.flatnonzero(logits > -np.inf)


def test_special_tokens_are_never_text_and_the_end_comes_where_it_may(served):
    known = vocabulary(served)
    width, eos = served.model.vocab, served.model.eos
    special = {served.model.tokenizer.token_to_id(name) for name in tiny_package.SPECIAL_TOKENS} - {eos}
    matcher = TokenMatcher(compile_constraint(Constraint("regex", "(?s:.{2,3})"), known), known)
    for at, token in enumerate(served.model.tokenizer.encode("a").ids * 3):
        now = allowed(matcher, width)
        assert not special & set(now.tolist())
        assert (eos in now) == (at >= 2)
        matcher.advance(token)
    assert allowed(matcher, width).tolist() == [eos] and matcher.error is None


def test_a_reply_that_cannot_go_on_ends_and_says_why(served):
    known = vocabulary(served)
    grammar = compile_constraint(Constraint("regex", "((a{1,1000}){1,1000}){1,100}"), known)
    matcher = TokenMatcher(grammar, known)
    [token] = served.model.tokenizer.encode("a").ids
    for _ in range(200):
        now = allowed(matcher, served.model.vocab)
        if matcher.error:
            break
        assert token in now
        matcher.advance(token)
    assert now.tolist() == [served.model.eos] and "too many" in matcher.error
    assert TokenMatcher(grammar, known).error is None, "another reply begins anew"


def test_a_client_is_told_that_its_grammar_was_too_much(http):
    body = {"model": "llm-assets", "prompt": "a", "max_tokens": 200, "n": 2, "temperature": 0}
    body |= {"structured_outputs": {"regex": "((a{1,1000}){1,1000}){1,100}b"}, "logit_bias": {"40": 1}}
    for stream in (False, True):
        reply = http.post("/v1/completions", json=body | {"stream": stream})
        last = json.loads([line for line in reply.text.split("\n") if line][-1].removeprefix("data: "))
        assert last["error"]["code"] == "constraint_too_complex", last
        assert last["error"]["param"] == "structured_outputs"


def test_logits_wider_than_the_vocabulary_are_masked(served):
    known = vocabulary(served)
    matcher = TokenMatcher(compile_constraint(Constraint("choice", '["a"]'), known), known)
    assert allowed(matcher, served.model.vocab).max() < served.model.tokenizer.get_vocab_size()


def test_tokens_as_bytes_make_the_text(served):
    text = "naïve 😀 \n end"
    tokens = served.model.tokenizer.encode(text).ids
    assert b"".join(vocabulary(served).bytes(token) for token in tokens).decode() == text
