"""/v1/models: what is served, under which names, from which package."""

from __future__ import annotations

from typing import Literal

from fastapi import FastAPI
from typing_extensions import TypedDict

from llm_assets.serving.package import Served, ServedEncoder
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.service import Service


class Model(TypedDict):
    """OpenAI's, and what there is to know of the package: digest is its data version, task what the name's prompt is
    for, context the most tokens of a prompt and its reply."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    digest: str
    kind: Literal["encoder", "decoder"]
    task: str | None
    context: int
    precision: str | None
    labels: list[str]


class Models(TypedDict):
    object: Literal["list"]
    data: list[Model]


def add(app: FastAPI, service: Service) -> None:
    @app.get("/v1/models")
    async def models() -> Models:
        served = service.current()
        return {"object": "list", "data": [_described(served, name) for name in served.names]}

    @app.get("/v1/models/{name}")
    async def model(name: str) -> Model:
        served = service.current()
        if name not in served.names:
            raise ApiError(404, f"model {name!r} does not exist", param="model", code="model_not_found")
        return _described(served, name)


def _described(served: Served | ServedEncoder, name: str) -> Model:
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
