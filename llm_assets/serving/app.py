"""The routes: OpenAI's, and the server's own for health, metrics, feedback and the chat page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import aclosing, asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from llm_assets.serving.config import ServingConfig
from llm_assets.serving.desk import Desk
from llm_assets.serving.engine import Engine
from llm_assets.serving.guard import PROBE_HEADER, Guard, api_key, error_response
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import PackageWatch, Served
from llm_assets.serving.protocol import (
    ApiError,
    ChatRequest,
    CompletionRequest,
    parse_chat,
    parse_completion,
    parse_feedback,
)
from llm_assets.serving.replies import Reply, prepare, sse
from llm_assets.serving.traffic import TrafficLog, now

GONE = 499  # the status of a request whose client left, as the log has it
T = TypeVar("T")


class ClientGone(Exception):
    """Nobody is there to read the reply."""


def build_app(home: Path, settings: ServingConfig, threads: int) -> FastAPI:
    metrics = Metrics()
    engine = Engine(settings, metrics)
    desk = Desk(engine, settings, metrics)
    traffic = TrafficLog(home, settings.traffic)
    watch = PackageWatch(home / "endpoint", threads, lambda served: metrics.serve(served.digest))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        watch.close()
        engine.close()
        traffic.close()

    app = FastAPI(title="llm-assets", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, key=api_key(home), metrics=metrics)

    def serving() -> Served:
        if watch.current is None:
            raise ApiError(
                503,
                watch.error or ("the model is being loaded" if watch.loading else "no model is deployed yet"),
                "server_error",
                code="model_not_ready",
                headers={"retry-after": "1"},
            )
        return watch.current

    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return error_response(error)

    @app.exception_handler(ClientGone)
    async def client_gone(_: Request, __: ClientGone) -> Response:
        return Response(status_code=GONE)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        said = {404: f"no route {request.url.path}", 405: f"{request.method} is not allowed here"}
        message = said.get(error.status_code, str(error.detail))
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        return error_response(ApiError(error.status_code, message, code=code, headers=dict(error.headers or {})))

    @app.get("/health")
    async def health() -> JSONResponse:
        current = watch.current
        state = {
            "status": "ok" if current else "loading" if watch.loading else "no model",
            "digest": current.digest if current else None,
            "models": current.names if current else [],
            "error": watch.error,
            "refused": watch.refused,
        }
        return JSONResponse(state, 200 if current else 503)

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/")
    async def chat_page() -> HTMLResponse:
        page = resources.files("llm_assets.serving").joinpath("pages/chat.html").read_text(encoding="utf-8")
        inline = "script-src 'unsafe-inline'; style-src 'unsafe-inline'"
        policy = f"default-src 'self'; img-src data:; {inline}; frame-ancestors 'none'"
        return HTMLResponse(page, headers={"content-security-policy": policy, "cache-control": "no-store"})

    def described(served: Served, name: str) -> dict[str, Any]:
        package = served.model.package
        return {
            "id": name,
            "object": "model",
            "created": served.loaded_at,
            "owned_by": "llm-assets",
            "digest": served.digest,
            "task": served.tasks[name][0] if name in served.tasks else None,
            "context": served.model.context,
            "precision": package.get("precision"),
            "labels": package.get("labels", []),
        }

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        served = serving()
        return {"object": "list", "data": [described(served, name) for name in served.names]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> dict[str, Any]:
        served = serving()
        if name not in served.names:
            raise ApiError(404, f"model {name!r} does not exist", param="model", code="model_not_found")
        return described(served, name)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await respond(request, parse_chat(await _body(request, settings.max_body_bytes)))

    @app.post("/v1/completions")
    async def completions(request: Request) -> Response:
        return await respond(request, parse_completion(await _body(request, settings.max_body_bytes)))

    @app.post("/v1/feedback")
    async def feedback(request: Request) -> dict[str, Any]:
        given = parse_feedback(await _body(request, settings.max_body_bytes))
        if not traffic.known(given.id):
            raise ApiError(404, f"no reply {given.id!r} is in the log", param="id", code="reply_not_found")
        traffic.feedback({"id": given.id, "at": now(), "rating": given.rating, "correction": given.correction})
        metrics.feedback.labels(given.rating or "none", str(given.correction is not None).lower()).inc()
        return {"id": given.id, "object": "feedback", "rating": given.rating, "correction": given.correction}

    async def respond(request: Request, asked: ChatRequest | CompletionRequest) -> Response:
        if asked.stream_options and not asked.stream:
            raise ApiError(400, "'stream_options' needs 'stream': true", param="stream_options")
        reply = prepare(asked, serving(), settings)
        reply.probe = PROBE_HEADER in request.headers
        try:
            pieces = desk.begin(reply)
        except ApiError as error:
            finish(reply, error.status)
            raise
        if asked.stream:
            usage = bool(asked.stream_options and asked.stream_options.include_usage)
            return StreamingResponse(
                stream(reply, pieces, usage),
                media_type="text/event-stream",
                headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
            )
        status = GONE
        try:
            await _unless_gone(request, _drain(pieces))
            status = 200
        except ApiError as error:
            status = error.status
            raise
        finally:
            finish(reply, status)
        return JSONResponse(reply.whole())

    async def stream(reply: Reply, pieces: AsyncIterator[Any], usage: bool) -> AsyncIterator[bytes]:
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
            finish(reply, status)

    def finish(reply: Reply, status: int) -> None:
        """Count the request, and log it."""
        ended = time.monotonic()
        if status == 200:
            metrics.prompt_tokens.inc(reply.prompt_tokens)
            metrics.generation_tokens.inc(reply.completion_tokens)
            metrics.request_prompt.observe(reply.prompt_tokens)
            metrics.request_generation.observe(reply.completion_tokens)
            metrics.e2e.observe(ended - reply.started)
            metrics.decode_time.observe(ended - reply.first)
        reasons = {choice.finish for choice in reply.choices}
        reason = (
            "abort" if status == GONE else "error" if status != 200 else "length" if "length" in reasons else "stop"
        )
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
        traffic.request(record, reply.probe)

    return app


async def _drain(pieces: AsyncIterator[Any]) -> None:
    async with aclosing(pieces):  # type: ignore[type-var]
        async for _ in pieces:
            pass


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """`work`, ended early when the client disconnects."""
    task = asyncio.ensure_future(work)
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=0.2)
            if not task.done() and await request.is_disconnected():
                raise ClientGone
        return task.result()
    finally:
        if not task.done():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _body(request: Request, limit: int) -> bytes:
    """The request's body; ApiError 413 as soon as it is too large, whatever its header says."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > limit:
            raise ApiError(
                413,
                f"the body is larger than {limit} bytes",
                code="body_too_large",
                headers={"connection": "close"},
            )
    return bytes(body)
