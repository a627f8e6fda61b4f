"""Which routes FastAPI solves parameters for, and which are called with the request."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.testclient import TestClient

from llm_assets.serving.app import build_app
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.direct import DirectRoute


def test_a_route_that_takes_the_request_and_gives_a_response_is_called_with_it():
    app = FastAPI()
    app.router.route_class = DirectRoute

    @app.post("/direct", openapi_extra={"requestBody": {"required": True, "content": {"text/plain": {}}}})
    async def direct(request: Request) -> Response:
        return Response(await request.body(), 201)

    @app.get("/solved/{name}")
    async def solved(name: str, count: int = 1) -> dict[str, int]:
        return {name: count}

    @app.post("/turned")
    async def turned(request: Request) -> dict[str, int]:
        return {"size": len(await request.body())}

    with TestClient(app) as client:
        reply = client.post("/direct", content="as it is")
        assert (reply.status_code, reply.text) == (201, "as it is")
        assert client.get("/direct").status_code == 405
        assert client.get("/solved/a?count=3").json() == {"a": 3}
        assert client.get("/solved/a?count=three").status_code == 422
        assert client.post("/turned", content="abc").json() == {"size": 3}
        assert "requestBody" in client.get("/openapi.json").json()["paths"]["/direct"]["post"]
    handlers = {route.path: route.get_route_handler() for route in app.routes if isinstance(route, DirectRoute)}
    assert handlers["/direct"] is direct and handlers["/solved/{name}"] is not solved


def test_what_is_asked_for_most_is_called_directly(tmp_path: Path):
    app = build_app(tmp_path, ServingConfig(), threads=1)
    direct = {
        route.path
        for route in app.routes
        if isinstance(route, DirectRoute) and route.get_route_handler() is route.endpoint
    }
    assert {"/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/classify"} <= direct
