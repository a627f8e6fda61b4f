"""/v1/feedback: thumbs and corrections, joined to the traffic log by the reply's id."""

from __future__ import annotations

from typing import Literal

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from typing_extensions import TypedDict

from llm_assets.serving.document import takes
from llm_assets.serving.protocol import ApiError, body_of, shown
from llm_assets.serving.requests import FeedbackRequest
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import now


class Feedback(TypedDict):
    id: str
    object: Literal["feedback"]
    rating: Literal["up", "down"] | None
    correction: str | None


def add(app: FastAPI, service: Service) -> None:
    @app.post("/v1/feedback", openapi_extra=takes(FeedbackRequest))
    async def feedback(request: Request) -> Feedback:
        given = await body_of(request, FeedbackRequest)
        # In a thread: for an old reply, or none of ours, the whole log is read.
        if not await run_in_threadpool(service.traffic.known, given.id):
            raise ApiError(404, f"no reply '{shown(given.id)}' is in the log", param="id", code="reply_not_found")
        service.traffic.feedback({"id": given.id, "at": now(), "rating": given.rating, "correction": given.correction})
        service.metrics.feedback.labels(given.rating or "none", str(given.correction is not None).lower()).inc()
        return {"id": given.id, "object": "feedback", "rating": given.rating, "correction": given.correction}
