"""/v1/feedback: thumbs and corrections, joined to the traffic log by the reply's id."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from llm_assets.serving.bodies import read_body
from llm_assets.serving.protocol import ApiError, parse_feedback
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import now


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/feedback")
    async def feedback(request: Request) -> dict[str, Any]:
        given = parse_feedback(await read_body(request, service.settings.max_body_bytes))
        if not service.traffic.known(given.id):
            raise ApiError(404, f"no reply {given.id!r} is in the log", param="id", code="reply_not_found")
        service.traffic.feedback({"id": given.id, "at": now(), "rating": given.rating, "correction": given.correction})
        service.metrics.feedback.labels(given.rating or "none", str(given.correction is not None).lower()).inc()
        return {"id": given.id, "object": "feedback", "rating": given.rating, "correction": given.correction}

    return routes
