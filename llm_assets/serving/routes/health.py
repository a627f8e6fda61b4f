"""/health and /metrics, which need no key, and /version."""

from __future__ import annotations

from importlib.metadata import version as installed
from typing import Literal

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from typing_extensions import TypedDict

from llm_assets.serving.service import Service

METRICS = {"schema": {"type": "string", "description": "Prometheus's text format"}}


class Health(TypedDict):
    """digest, models: of the package being served. error: what kept the last one from being served. refused: the
    `deployed_at` of the pointer to that one."""

    status: Literal["ok", "loading", "draining", "no model"]
    digest: str | None
    models: list[str]
    error: str | None
    refused: str | None


class Version(TypedDict):
    version: str


def add(app: FastAPI, service: Service) -> None:
    @app.get("/health", responses={200: {"model": Health}, 503: {"model": Health}})
    async def health() -> JSONResponse:
        """200 while requests are answered."""
        watch = service.watch
        current = watch.current
        ready: Literal["draining", "ok"] = "draining" if service.drain.begun else "ok"
        state: Health = {
            "status": ready if current else "loading" if watch.loading else "no model",
            "digest": current.digest if current else None,
            "models": current.names if current else [],
            "error": watch.error,
            "refused": watch.refused,
        }
        return JSONResponse(state, 200 if state["status"] == "ok" else 503)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": METRICS}}})
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/version")
    async def version() -> Version:
        return {"version": installed("llm-assets")}
