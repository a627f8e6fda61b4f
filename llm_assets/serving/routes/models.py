"""/v1/models: what is served, under which names, from which package."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from llm_assets.serving.package import Served, ServedEncoder
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.service import Service


def router(service: Service) -> APIRouter:
    routes = APIRouter(prefix="/v1/models")

    @routes.get("")
    async def models() -> dict[str, Any]:
        served = service.current()
        return {"object": "list", "data": [_described(served, name) for name in served.names]}

    @routes.get("/{name}")
    async def model(name: str) -> dict[str, Any]:
        served = service.current()
        if name not in served.names:
            raise ApiError(404, f"model {name!r} does not exist", param="model", code="model_not_found")
        return _described(served, name)

    return routes


def _described(served: Served | ServedEncoder, name: str) -> dict[str, Any]:
    package = served.model.package
    return {
        "id": name,
        "object": "model",
        "created": served.loaded_at,
        "owned_by": "llm-assets",
        "digest": served.digest,
        "kind": "encoder" if isinstance(served, ServedEncoder) else "decoder",
        "task": served.tasks[name][0] if name in served.tasks else None,
        "context": served.model.context,
        "precision": package.get("precision"),
        "labels": package.get("labels", []),
    }
