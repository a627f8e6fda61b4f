"""/health and /metrics, which need no key."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response

from llm_assets.serving.service import Service


def router(service: Service) -> APIRouter:
    routes = APIRouter()

    @routes.get("/health")
    async def health() -> JSONResponse:
        watch = service.watch
        current = watch.current
        state = {
            "status": "ok" if current else "loading" if watch.loading else "no model",
            "digest": current.digest if current else None,
            "models": current.names if current else [],
            "error": watch.error,
            "refused": watch.refused,
        }
        return JSONResponse(state, 200 if current else 503)

    @routes.get("/metrics")
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return routes
