"""/openapi.json: what FastAPI leaves out of it."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from llm_assets.serving.encoder_protocol import ClassifyRequest, EmbeddingRequest
from llm_assets.serving.guard import OPEN_ROUTES
from llm_assets.serving.label_requests import SampleRequest, UndoRequest, VoteRequest
from llm_assets.serving.protocol import JSON, RequestBody
from llm_assets.serving.reply_types import REFERENCE, chunk_schemas
from llm_assets.serving.requests import (
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    FeedbackRequest,
    TokenizeRequest,
)

ID, RETRY, KEY, METHODS = "x-request-id", "retry-after", "www-authenticate", "allow"
HEADERS: dict[str, dict[str, Any]] = {
    ID: {
        "description": "the client's own, of up to 128 of A-Z a-z 0-9 . _ : / -, or one made here; the log has it, too",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._:/-]{1,128}$"},
    },
    RETRY: {
        "description": "with 429 and 503: the seconds after which it may be tried again",
        "schema": {"type": "integer", "minimum": 1},
    },
    KEY: {"description": "with 401: how a key is given", "schema": {"type": "string", "const": "Bearer"}},
    METHODS: {"description": "with 405: the methods that the route has", "schema": {"type": "string"}},
}
BODIES = (  # of JSON, which routes read by `body_of`
    *(ChatRequest, CompletionRequest, EmbeddingRequest, ClassifyRequest),
    *(TokenizeRequest, DetokenizeRequest, FeedbackRequest, VoteRequest, UndoRequest, SampleRequest),
)
OF_ERRORS = {"4XX": (RETRY, KEY, METHODS), "5XX": (RETRY,)}


def takes(shape: type[RequestBody]) -> dict[str, Any]:
    """What is told of a route that reads one of `BODIES`, for its `openapi_extra`."""
    content = {JSON: {"schema": {"$ref": REFERENCE + shape.__name__}}}
    return {"requestBody": {"required": True, "content": content}}


def complete_document(app: FastAPI) -> None:
    """Put in which routes need a key, what the bodies that routes read themselves and the events of streams hold, and
    the headers of replies. What a route's own reply has beside these is told by the route."""
    document = app.openapi()
    components = document["components"]
    _, read = models_json_schema([(body, "validation") for body in BODIES], ref_template=REFERENCE + "{model}")
    components["schemas"] |= read["$defs"] | chunk_schemas()
    components["headers"] = HEADERS
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"key": []}]
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if path in OPEN_ROUTES:
                operation["security"] = []
            for status, reply in operation["responses"].items():
                names = (ID, *OF_ERRORS.get(status, ()))
                told = {name: {"$ref": f"#/components/headers/{name}"} for name in names}
                reply["headers"] = reply.get("headers", {}) | told


def own_headers(**told: str) -> dict[str, Any]:
    """Headers of one route's reply, for its `responses`: name, with _ for -, and what it says."""
    return {
        name.replace("_", "-"): {"description": text, "required": True, "schema": {"type": "string"}}
        for name, text in told.items()
    }
