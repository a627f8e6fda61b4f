"""What is said to another server, and what it answers: OpenAI's /v1/completions with vLLM's additions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from llm_assets.serving.patterns import ascii_classes, ascii_schema
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.rows import Piece, Row
from llm_assets.serving.sampling import Constraint, Sampling, TokenLogprob

if TYPE_CHECKING:
    import httpx

INERT = {"top_k": 0, "min_p": 0.0, "min_tokens": 0, "ignore_eos": False, "repetition_penalty": 1.0}
FORBIDDEN = -100.0  # the least that a token's logit can be biased by
FINISHES = ("stop", "length")
TOKEN = "token_id:"  # how a token is named with `return_tokens_as_token_ids`


def request_body(row: Row, model: str) -> dict[str, Any]:
    """The request for one row. What OpenAI does not have is sent only where it was asked for."""
    wanted: Sampling = row.sampling
    body = {
        "model": model,
        "prompt": row.prompt,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": wanted.max_tokens,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "presence_penalty": wanted.presence_penalty,
        "frequency_penalty": wanted.frequency_penalty,
    }
    if wanted.stop:
        body["stop"] = list(wanted.stop)
    if wanted.seed is not None:
        body["seed"] = (wanted.seed + row.index) % 2**63  # choices of one request differ
    bias = {str(token): added for token, added in wanted.logit_bias}
    if wanted.ignore_eos:  # vLLM goes on after the end token, but lets it be chosen
        bias[str(row.package.model.eos)] = FORBIDDEN
    if bias:
        body["logit_bias"] = bias
    if wanted.logprobs is not None:
        body |= {"logprobs": wanted.logprobs, "return_tokens_as_token_ids": True}
    if wanted.constraint:
        body["structured_outputs"] = _structured(wanted.constraint)
    return body | {name: value for name, inert in INERT.items() if (value := getattr(wanted, name)) != inert}


async def pieces(row: Row, reply: httpx.Response) -> AsyncIterator[Piece]:
    """A streamed reply as the engine would have told it. ValueError, KeyError where it is no such stream; ApiError for
    the error that it may end with."""
    text, tokens, finish = "", 0, None
    told: list[TokenLogprob] = []
    async for event in _events(reply):
        if event.get("usage"):
            tokens = event["usage"]["completion_tokens"]
        for choice in event["choices"]:
            text, finish = text + choice["text"], choice["finish_reason"] or finish
            told += _told(choice.get("logprobs"), row.sampling.logprobs or 0)
            if text and not choice["finish_reason"]:
                tokens += 1
                yield Piece(row.index, text, tokens, None, tuple(told))
                text, told = "", []
    if finish not in FINISHES:  # vLLM says "abort" of what it could not bring to its end
        raise ValueError(f"the reply was not brought to its end ({finish})")
    yield Piece(row.index, text, tokens, finish, tuple(told))


def refused(status: int, body: bytes, retry: str | None) -> ApiError:
    """The other server's error as ours. Its faults, and its refusal of our key, are not the client's."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"status {status}"
    if status in (400, 429):
        headers = {"retry-after": retry or "1"} if status == 429 else {}
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        return ApiError(status, message, kind, code="upstream_refused", headers=headers)
    return ApiError(502, f"the server behind this one: {message}", "server_error", code="upstream_error")


def _structured(constraint: Constraint) -> dict[str, Any]:
    if constraint.kind == "regex":
        return {"regex": ascii_classes(constraint.value)}
    value = json.loads(constraint.value)
    return {"choice": value} if constraint.kind == "choice" else {"json": ascii_schema(value)}


def _told(given: Mapping[str, Any] | None, count: int) -> list[TokenLogprob]:
    """Log-probabilities of a chunk. The other server may tell one alternative more than asked: the chosen token."""
    if not given:
        return []
    tokens, tops = given["tokens"], given.get("top_logprobs") or [None] * len(given["tokens"])
    return [
        TokenLogprob(_token(name), logprob, _likeliest(top or {}, count))
        for name, logprob, top in zip(tokens, given["token_logprobs"], tops, strict=True)
    ]


def _likeliest(top: Mapping[str, float], count: int) -> tuple[tuple[int, float], ...]:
    found = sorted(((_token(name), logprob) for name, logprob in top.items()), key=lambda told: (-told[1], told[0]))
    return tuple(found[:count])


def _token(name: str) -> int:
    return int(name.removeprefix(TOKEN))


async def _events(reply: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The stream's objects. Raises ApiError for the error that may be its last."""
    async for line in reply.aiter_lines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:  # vLLM has begun to stream when it looks into a request's parameters
            code = event["error"].get("code")
            raise refused(code if isinstance(code, int) else 502, data.encode(), None)
        yield event
