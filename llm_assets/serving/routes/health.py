"""/health and /metrics, which need no key, and /version."""

from __future__ import annotations

from importlib.metadata import version as installed

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from typing_extensions import TypedDict

from llm_assets.serving.service import Service


class Version(TypedDict):
    version: str


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> JSONResponse:
        """200 while requests are answered."""
        watch = service.watch
        current = watch.current
        ready = "draining" if service.drain.begun else "ok"
        state = {
            "status": ready if current else "loading" if watch.loading else "no model",
            "digest": current.digest if current else None,
            "models": current.names if current else [],
            "error": watch.error,
            "refused": watch.refused,
        }
        return JSONResponse(state, 200 if state["status"] == "ok" else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @routes.get("/version")
    async def version() -> Version:
        return {"version": installed("llm-assets")}

    return routes
