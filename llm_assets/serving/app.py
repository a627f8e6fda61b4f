"""The server: its parts, its guard, its errors and its routes put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from llm_assets.serving.bodies import GONE, ClientGone
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.desk import Desk
from llm_assets.serving.encoder_engine import EncoderEngine
from llm_assets.serving.engine import Engine
from llm_assets.serving.guard import Guard, api_key, error_response
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import PackageWatch
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.routes import ROUTERS
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import TrafficLog


def build_app(home: Path, settings: ServingConfig, threads: int) -> FastAPI:
    metrics = Metrics()
    engine, encoder = Engine(settings, metrics), EncoderEngine(settings, metrics)
    watch = PackageWatch(home / "endpoint", threads, lambda served: metrics.serve(served.digest))
    desk, traffic = Desk(engine, settings, metrics), TrafficLog(home, settings.traffic)
    service = Service(settings, metrics, desk, encoder, traffic, watch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        watch.close()
        engine.close()
        encoder.close()

    app = FastAPI(title="llm-assets", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    app.add_middleware(Guard, key=api_key(home), metrics=metrics)
    _handle_errors(app)
    for router in ROUTERS:
        app.include_router(router(service))
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return error_response(error)

    @app.exception_handler(ClientGone)
    async def client_gone(_: Request, __: ClientGone) -> Response:
        return Response(status_code=GONE)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        said = {404: f"no route {request.url.path}", 405: f"{request.method} is not allowed here"}
        message = said.get(error.status_code, str(error.detail))
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        return error_response(ApiError(error.status_code, message, code=code, headers=dict(error.headers or {})))
