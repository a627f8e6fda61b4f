"""/v1/chat/completions and /v1/completions."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from llm_assets.serving.bodies import GONE, read_body, unless_gone
from llm_assets.serving.guard import PROBE_HEADER
from llm_assets.serving.protocol import ApiError, ChatRequest, CompletionRequest, parse_chat, parse_completion
from llm_assets.serving.replies import Reply, prepare, sse
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import now


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        body = await read_body(request, service.settings.max_body_bytes)
        return await _respond(service, request, parse_chat(body))

    @routes.post("/v1/completions")
    async def completions(request: Request) -> Response:
        body = await read_body(request, service.settings.max_body_bytes)
        return await _respond(service, request, parse_completion(body))

    return routes


async def _respond(service: Service, request: Request, asked: ChatRequest | CompletionRequest) -> Response:
    if asked.stream_options and not asked.stream:
        raise ApiError(400, "'stream_options' needs 'stream': true", param="stream_options")
    reply = prepare(asked, service.served(), service.settings)
    reply.probe = PROBE_HEADER in request.headers
    try:
        pieces = service.desk.begin(reply)
    except ApiError as error:
        _finish(service, reply, error.status)
        raise
    if asked.stream:
        usage = bool(asked.stream_options and asked.stream_options.include_usage)
        return StreamingResponse(
            _stream(service, reply, pieces, usage),
            media_type="text/event-stream",
            headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
        )
    status = GONE
    try:
        await unless_gone(request, _drain(pieces))
        status = 200
    except ApiError as error:
        status = error.status
        raise
    finally:
        _finish(service, reply, status)
    return JSONResponse(reply.whole())


async def _drain(pieces: AsyncIterator[Any]) -> None:
    async with aclosing(pieces):  # type: ignore[type-var]
        async for _ in pieces:
            pass


async def _stream(service: Service, reply: Reply, pieces: AsyncIterator[Any], usage: bool) -> AsyncIterator[bytes]:
    status = GONE
    extra = {"usage": None} if usage else {}
    try:
        if reply.kind == "chat":
            for index in range(len(reply.choices)):
                yield sse(reply.chunk(index, None) | extra)
        async with aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                if piece.text:
                    yield sse(reply.chunk(piece.index, piece.text) | extra)
                if piece.finish:
                    yield sse(reply.chunk(piece.index, "", piece.finish) | extra)
        if usage:
            yield sse(reply.usage_chunk())
        status = 200
        yield sse("[DONE]")
    except ApiError as error:
        status = error.status
        yield sse(error.body())
    finally:
        _finish(service, reply, status)


def _finish(service: Service, reply: Reply, status: int) -> None:
    """Count the request, and log it."""
    ended = time.monotonic()
    metrics = service.metrics
    if status == 200:
        metrics.prompt_tokens.inc(reply.prompt_tokens)
        metrics.generation_tokens.inc(reply.completion_tokens)
        metrics.request_prompt.observe(reply.prompt_tokens)
        metrics.request_generation.observe(reply.completion_tokens)
        metrics.e2e.observe(ended - reply.started)
        metrics.decode_time.observe(ended - reply.first)
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
    service.traffic.request(record, reply.probe)
