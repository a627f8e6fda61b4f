"""What every request passes first: its id, its key, the size of its body, its count and its line in the log."""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from fastapi.responses import Response
from starlette.exceptions import HTTPException

from llm_assets.serving.admission import Admission
from llm_assets.serving.clients import GONE, once_sent
from llm_assets.serving.drain import Drain
from llm_assets.serving.keys import Keys
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.protocol import ApiError, json_text

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)
requests = logging.getLogger("llm_assets.serving.requests")

OPEN_ROUTES = frozenset({"/", "/live", "/label", "/health", "/metrics"})  # everything else needs a key
PROBE_HEADER = "x-llm-assets-probe"
_SANE_ID = re.compile(rb"[A-Za-z0-9._:/-]{1,128}")


def error_response(error: ApiError) -> Response:
    return Response(json_text(error.body()), error.status, error.headers, "application/json")


class BodyRefused(HTTPException):
    """Raised where a body is read; FastAPI lets exceptions of this kind pass."""

    def __init__(self, error: ApiError) -> None:
        super().__init__(error.status, error.message, {"connection": "close"})
        self.error = error


class Guard:
    """ASGI middleware around the whole application. Routes add what they know to `request.state.facts`, which the log's
    line ends with."""

    def __init__(
        self,
        app: ASGIApp,
        keys: Keys,
        metrics: Metrics,
        drain: Drain,
        admission: Admission,
        body_bytes: int,
        body_seconds: float,
    ) -> None:
        self._app, self._keys, self._metrics, self._drain, self._admission = app, keys, metrics, drain, admission
        self._bytes, self._seconds = body_bytes, body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _SANE_ID.fullmatch(given) else f"req-{uuid.uuid4().hex}"
        facts: dict[str, Any] = {}
        scope.setdefault("state", {}).update(request_id=request_id, facts=facts)
        started, status, unread = time.monotonic(), 0, False

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            if scope["path"] in OPEN_ROUTES:
                await self._app(scope, receive, answer)
            elif (key := self._keys.named(headers.get(b"authorization", b""))) is None:
                await error_response(_UNKNOWN)(scope, receive, answer)
            elif self._drain.begun:
                await error_response(self._drain.refusal())(scope, receive, answer)
            else:
                facts["key"] = key
                with self._drain.request():
                    seconds, receive = None, self._bounded(receive)
                    if PROBE_HEADER.encode() not in headers:
                        seconds, receive = await self._admission.check(scope, receive)
                    if unread := seconds is not None:
                        await self._admission.refuse(scope["path"], seconds, answer)
                    else:
                        await self._app(scope, receive, answer)
        except BodyRefused as refused:  # by admission, which may look at a body
            await error_response(refused.error)(scope, receive, answer)
        except Exception:
            log.exception("request %s failed", request_id)
            if status:
                raise  # the reply has begun: only closing the connection can say that it is not whole
            wrong = f"an error of the server (request {request_id})"
            error = ApiError(500, wrong, "server_error", code="internal_error")
            await error_response(error)(scope, receive, answer)
        finally:
            # Never the raw path in a label: they must stay few.
            route = scope["path"] if unread else getattr(scope.get("route"), "path", "unknown")
            self._metrics.http.labels(route, scope["method"], str(status or GONE)).inc()
            if not unread:
                fields = {
                    "id": request_id,
                    "method": scope["method"],
                    "route": route,
                    "status": status or GONE,
                    "ms": round((time.monotonic() - started) * 1000, 2),
                }
                level = logging.DEBUG if scope["path"] in OPEN_ROUTES else logging.INFO
                once_sent(_log, level, fields, facts)  # after the route, which tells facts once it has sent, too

    def _bounded(self, receive: Receive) -> Receive:
        """Raises BodyRefused as soon as the body is too large, whatever its header says, or when it takes too long."""
        size, whole, end = 0, False, time.monotonic() + self._seconds

        async def bounded() -> Message:
            nonlocal size, whole
            if whole:  # what is waited for now is that the client leaves
                return await receive()
            try:
                async with asyncio.timeout(end - time.monotonic()):
                    message = await receive()
            except TimeoutError:
                wrong = f"the body did not come within {self._seconds:g} s"
                raise BodyRefused(_closing(408, wrong, "body_too_slow")) from None
            size += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if size > self._bytes:
                raise BodyRefused(_closing(413, f"the body is larger than {self._bytes} bytes", "body_too_large"))
            return message

        return bounded


def _log(level: int, fields: dict[str, Any], facts: dict[str, Any]) -> None:
    requests.log(level, "request", extra={"fields": fields | facts})


def _closing(status: int, message: str, code: str) -> ApiError:
    return ApiError(status, message, code=code, headers={"connection": "close"})


_UNKNOWN = ApiError(
    401,
    "this route needs an API key, as 'Authorization: Bearer KEY'; the state folder has it in endpoint/api_key",
    "authentication_error",
    code="invalid_api_key",
    headers={"www-authenticate": "Bearer"},
)
