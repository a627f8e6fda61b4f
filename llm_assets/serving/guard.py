"""What every request passes first: its id, its key, its count, and errors in one shape."""

from __future__ import annotations

import hmac
import logging
import os
import secrets
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.responses import JSONResponse

from llm_assets.serving.metrics import Metrics
from llm_assets.serving.protocol import ApiError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

OPEN_ROUTES = frozenset({"/", "/live", "/label", "/health", "/metrics"})  # everything else needs the key
KEY_VARIABLE = "LLM_ASSETS_API_KEY"
PROBE_HEADER = "x-llm-assets-probe"


def api_key(home: Path) -> str:
    """The endpoint's key: $LLM_ASSETS_API_KEY, or the one in `endpoint/api_key`, made on first use (mode
    0600).
    """
    if given := os.environ.get(KEY_VARIABLE):
        return given
    path = home / "endpoint" / "api_key"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"api_key.{uuid.uuid4().hex}")
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write("sk-" + secrets.token_urlsafe(32))
        try:
            os.link(partial, path)  # fails where another process was first: then its key is the key
        except FileExistsError:
            pass
        finally:
            partial.unlink()
    return path.read_text(encoding="ascii").strip()


def error_response(error: ApiError) -> JSONResponse:
    return JSONResponse(error.body(), error.status, headers=error.headers)


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, key: str, metrics: Metrics) -> None:
        self._app, self._key, self._metrics = app, key.encode(), metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, status = f"req-{uuid.uuid4().hex}", 0
        scope.setdefault("state", {})["request_id"] = request_id

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if scope["path"] not in OPEN_ROUTES and not self._authorised(scope):
                await error_response(
                    ApiError(
                        401,
                        "this route needs the API key, as 'Authorization: Bearer KEY'; "
                        "the state folder has it in endpoint/api_key",
                        "authentication_error",
                        code="invalid_api_key",
                        headers={"www-authenticate": "Bearer"},
                    )
                )(scope, receive, answer)
            else:
                await self._app(scope, receive, answer)
        except Exception:
            log.exception("request %s failed", request_id)
            if status:
                raise  # the reply has begun: only closing the connection can say that it is not whole
            wrong = ApiError(
                500, f"an error of the server (request {request_id})", "server_error", code="internal_error"
            )
            await error_response(wrong)(scope, receive, answer)
        finally:
            route = getattr(scope.get("route"), "path", "unknown")  # never the raw path: labels must stay few
            self._metrics.http.labels(route, scope["method"], str(status or 499)).inc()

    def _authorised(self, scope: Scope) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        kind, _, key = given.partition(b" ")
        return hmac.compare_digest(key.strip(), self._key) and kind.lower() == b"bearer"
