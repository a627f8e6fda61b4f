"""The server: its parts, its guard, its errors and its routes put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from llm_assets.serving.admission import COMPLETIONS, ENCODINGS, Admission
from llm_assets.serving.clients import GONE, ClientGone
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.constraints import Grammars
from llm_assets.serving.desk import Desk
from llm_assets.serving.document import complete_document
from llm_assets.serving.drain import Drain
from llm_assets.serving.encoder_engine import EncoderEngine
from llm_assets.serving.engine import Engine
from llm_assets.serving.guard import BodyRefused, Guard, error_response
from llm_assets.serving.keys import Keys
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import PackageWatch
from llm_assets.serving.protocol import ApiError, ErrorBody, invalid
from llm_assets.serving.routes import add_routes
from llm_assets.serving.service import Service
from llm_assets.serving.traffic import TrafficLog
from llm_assets.serving.upstream import Upstream

CODES = {404: "not_found", 405: "method_not_allowed"}


def build_app(home: Path, settings: ServingConfig, threads: int) -> FastAPI:
    """`app.state.service` is what its routes share."""
    metrics = Metrics()
    log = home / "endpoint" / "vllm.log"
    upstream = Upstream(settings.backend, settings, metrics, log) if settings.backend else None
    engine, encoder = upstream or Engine(settings, metrics), EncoderEngine(settings, metrics)
    traffic = TrafficLog(home, settings.traffic)
    watch = PackageWatch(home / "endpoint", threads, lambda served: metrics.serve(served.digest), engine.prepare)
    admission = Admission(engine, encoder, watch, traffic, metrics, settings)
    service = Service(
        home,
        settings,
        metrics,
        Desk(engine, settings, metrics),
        encoder,
        traffic,
        watch,
        Grammars(),
        Drain(),
        admission,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        traffic.keep()
        yield
        service.watch.close()
        service.grammars.close()
        engine.close()
        encoder.close()
        admission.flush()
        service.traffic.close()

    app = FastAPI(
        title="llm-assets",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={
            "4XX": {"model": ErrorBody, "description": "The request cannot be answered as it is."},
            "5XX": {"model": ErrorBody, "description": "The server cannot answer now."},
        },
    )
    app.state.service = service
    app.add_middleware(
        Guard,
        keys=Keys(home),
        metrics=metrics,
        drain=service.drain,
        admission=admission,
        body_bytes=settings.max_body_bytes,
        body_seconds=settings.deadline_seconds,
    )
    _handle_errors(app)
    add_routes(app, service)
    complete_document(app)
    return app


def _handle_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api_error(_: Request, error: ApiError) -> Response:
        return error_response(error)

    @app.exception_handler(BodyRefused)
    async def body_refused(_: Request, refused: BodyRefused) -> Response:
        return error_response(refused.error)

    @app.exception_handler(RequestValidationError)
    async def invalid_request(_: Request, error: RequestValidationError) -> Response:
        return error_response(invalid(error.errors()))

    @app.exception_handler(ClientGone)
    async def client_gone(request: Request, _: ClientGone) -> Response:
        if request.url.path in COMPLETIONS | ENCODINGS and "reply" not in request.state.facts:
            app.state.service.metrics.finished("abort")  # it was not even prepared; routes count the others
        return Response(status_code=GONE)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        said = {
            400: "the body is not valid JSON",
            404: f"no route {request.url.path}",
            405: f"{request.method} is not allowed here",
        }
        message = said.get(error.status_code, str(error.detail))
        code = CODES.get(error.status_code, "invalid_json")
        return error_response(ApiError(error.status_code, message, code=code, headers=dict(error.headers or {})))
