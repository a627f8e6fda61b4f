"""/v1/chat/completions and /v1/completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response

from llm_assets.serving import wire
from llm_assets.serving.clients import GONE, off_the_loop, once_sent, patience, unless_gone
from llm_assets.serving.document import takes
from llm_assets.serving.guard import PROBE_HEADER
from llm_assets.serving.protocol import ApiError, body_of
from llm_assets.serving.replies import Reply, prepare
from llm_assets.serving.reply_types import ChatChunk, ChatCompletion, Completion, CompletionChunk, event
from llm_assets.serving.requests import ChatRequest, CompletionRequest
from llm_assets.serving.rows import Piece
from llm_assets.serving.service import Service
from llm_assets.serving.streams import HEADERS, EventStream
from llm_assets.serving.traffic import now
from llm_assets.serving.vocabulary import vocabulary

STREAMED = {
    name: {"description": f"of a stream: {value}", "schema": {"type": "string", "const": value}}
    for name, value in HEADERS.items()
}


def add(app: FastAPI, service: Service) -> None:
    @app.post("/v1/chat/completions", responses=_replies(ChatCompletion, ChatChunk), openapi_extra=takes(ChatRequest))
    async def chat(request: Request) -> Response:
        return await _respond(service, request, await body_of(request, ChatRequest))

    @app.post(
        "/v1/completions", responses=_replies(Completion, CompletionChunk), openapi_extra=takes(CompletionRequest)
    )
    async def completions(request: Request) -> Response:
        return await _respond(service, request, await body_of(request, CompletionRequest))


def _replies(whole: type, chunk: type) -> dict[int | str, dict[str, Any]]:
    """What /openapi.json says of a success."""
    content = {"text/event-stream": {"itemSchema": event(chunk)}}
    return {200: {"model": whole, "content": content, "headers": STREAMED}}


async def _respond(service: Service, request: Request, asked: ChatRequest | CompletionRequest) -> Response:
    seconds = patience(request.headers, bool(asked.stream), service.settings.deadline_seconds)
    reply = await off_the_loop(
        request, partial(prepare, asked, service.served(), service.settings, time.monotonic() + seconds)
    )
    reply.probe, reply.streamed = PROBE_HEADER in request.headers, bool(asked.stream)
    facts = request.state.facts
    facts.update(reply=reply.id, model=reply.model, stream=bool(asked.stream), prompt_tokens=reply.prompt_tokens)
    if reply.sampling.logprobs is not None:
        await asyncio.to_thread(vocabulary, reply.package)
    if reply.sampling.constraint and service.settings.backend is None:  # another server keeps to it itself
        reply.matchers = await service.grammars.matchers(
            reply.package, reply.sampling.constraint, len(reply.choices), reply.constrained_by
        )
    body = await request.body()

    def ended(status: int) -> None:
        once_sent(finish, service, reply, status, time.monotonic(), facts)
        if reply.repeatable and not reply.probe:
            service.admission.learn(body, status == 200)

    try:
        pieces = service.desk.begin(reply)
    except ApiError as error:
        ended(error.status)
        raise
    if reply.matchers:
        pieces = _kept(reply, pieces)
    if asked.stream:
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        return EventStream(service, reply, pieces, usage, ended)
    status = GONE
    try:
        with service.drain.reply(reply):
            # What a cache has is here at once: nobody can leave meanwhile.
            await (_drain(pieces) if reply.cached else unless_gone(request.receive, _drain(pieces)))
        status = 200
    except ApiError as error:
        status = error.status
        raise
    finally:
        ended(status)
    return Response(orjson.dumps(wire.whole(reply)), media_type="application/json")


async def _kept(reply: Reply, pieces: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    """The pieces; ApiError where a constraint could not be kept to the end."""
    async with aclosing(pieces):  # type: ignore[type-var]
        async for piece in pieces:
            if piece.finish and reply.matchers and (why := reply.matchers[piece.index].error):
                wrong = f"the reply could not be kept to '{reply.constrained_by}': {why}"
                raise ApiError(400, wrong, param=reply.constrained_by, code="constraint_too_complex")
            yield piece


async def _drain(pieces: AsyncIterator[Piece]) -> None:
    async with aclosing(pieces):  # type: ignore[type-var]
        async for _ in pieces:
            pass


def finish(service: Service, reply: Reply, status: int, ended: float, facts: dict[str, Any]) -> None:
    """Count the request that has `ended` then, and log it."""
    metrics = service.metrics
    if status == 200:
        metrics.prompt_tokens.inc(reply.prompt_tokens)
        metrics.generation_tokens.inc(reply.completion_tokens)
        metrics.request_prompt.observe(reply.prompt_tokens)
        metrics.request_generation.observe(reply.completion_tokens)
        metrics.e2e.observe(ended - reply.started)
        metrics.decode_time.observe(ended - reply.first)
        longest = max(choice.tokens for choice in reply.choices)
        if longest > 1:
            metrics.per_token.observe((ended - reply.first) / (longest - 1))
        metrics.request_longest.observe(longest)
        metrics.asked_n.observe(reply.n)
        metrics.asked_tokens.observe(reply.sampling.max_tokens)
    reasons = {choice.finish for choice in reply.choices}
    reason = "abort" if status == GONE else "error" if status != 200 else "length" if "length" in reasons else "stop"
    metrics.finished(reason)
    record = {
        "id": reply.id,
        "at": now(),
        "model": reply.model,
        "task": reply.task,
        "text": reply.text,
        "reply": reply.choices[0].text,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "latency_ms": round((ended - reply.started) * 1000, 2),
        "ttft_ms": round((reply.first - reply.started) * 1000, 2) if reply.first else None,
        "status": status,
        "finish_reason": reason,
        "cached": reply.cached,
        "digest": reply.package.digest,
    }
    facts.update({name: record[name] for name in ("completion_tokens", "ttft_ms", "finish_reason", "cached", "digest")})
    if service.settings.log_prompts:
        facts.update(text=record["text"], reply_text=record["reply"])
    service.traffic.request(record, reply.probe)
