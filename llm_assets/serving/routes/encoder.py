"""/v1/embeddings and /v1/classify, where an encoder is served."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import orjson
from fastapi import FastAPI, Request
from fastapi.responses import Response

from llm_assets.serving.clients import GONE, off_the_loop, once_sent, patience, unless_gone
from llm_assets.serving.document import takes
from llm_assets.serving.encoder_protocol import ClassifyRequest, EmbeddingRequest, Encoding, prepare_encoding
from llm_assets.serving.guard import PROBE_HEADER
from llm_assets.serving.protocol import ApiError, body_of
from llm_assets.serving.reply_types import Classes, Embeddings
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import now

if TYPE_CHECKING:
    from llm_assets.inference.encoder_model import Encoded


def add(app: FastAPI, service: Service) -> None:
    most = service.settings.encoder.max_texts

    @app.post("/v1/embeddings", responses={200: {"model": Embeddings}}, openapi_extra=takes(EmbeddingRequest))
    async def embeddings(request: Request) -> Response:
        asked = await body_of(request, EmbeddingRequest)
        encoding = await off_the_loop(request, partial(prepare_encoding, asked, service.served_encoder(), most))
        found = await _encode(service, request, encoding)
        return _json(encoding.embeddings(found, asked.encoding_format == "base64"))

    @app.post("/v1/classify", responses={200: {"model": Classes}}, openapi_extra=takes(ClassifyRequest))
    async def classify(request: Request) -> Response:
        asked = await body_of(request, ClassifyRequest)
        encoding = await off_the_loop(request, partial(prepare_encoding, asked, service.served_encoder(), most))
        found = await _encode(service, request, encoding)
        return _json(encoding.classes(found))


def _json(reply: dict[str, Any]) -> Response:
    """Numbers of hundreds of texts are many: the other requests wait while they are written."""
    return Response(orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY), media_type="application/json")


async def _encode(service: Service, request: Request, encoding: Encoding) -> Encoded:
    status, deadline = GONE, encoding.started + patience(request.headers, False, service.settings.deadline_seconds)
    request.state.facts.update(
        reply=encoding.id, model=encoding.model, prompt_tokens=encoding.tokens, digest=encoding.package.digest
    )
    try:
        future = service.encoder.submit(encoding.package, encoding.texts, deadline)
        found = await unless_gone(request.receive, asyncio.wrap_future(future))
        encoding.note(found)
        status = 200
        return found
    except ApiError as error:
        status = error.status
        raise
    finally:
        once_sent(_log, service, encoding, status, time.monotonic(), PROBE_HEADER in request.headers)
        if service.settings.log_prompts:
            request.state.facts.update(text=encoding.asked, reply_text=encoding.answer)


def _log(service: Service, encoding: Encoding, status: int, ended: float, probe: bool) -> None:
    """Count the request that has `ended` then, and log it."""
    seconds = ended - encoding.started
    if status == 200:
        service.metrics.prompt_tokens.inc(encoding.tokens)
        service.metrics.request_prompt.observe(encoding.tokens)
        service.metrics.e2e.observe(seconds)
    reason = "abort" if status == GONE else "error" if status != 200 else "stop"
    service.metrics.finished(reason)
    record = {
        "id": encoding.id,
        "at": now(),
        "model": encoding.model,
        "task": encoding.task,
        "text": encoding.asked,
        "reply": encoding.answer,
        "prompt_tokens": encoding.tokens,
        "completion_tokens": 0,
        "latency_ms": round(seconds * 1000, 2),
        "ttft_ms": None,
        "status": status,
        "finish_reason": reason,
        "cached": False,
        "digest": encoding.package.digest,
    }
    service.traffic.request(record, probe)
