"""Requests that are refused before they are read: those that come while the engine has all the work it can do in time.

What this costs is taken from the engine, so under a flood it decides how much is still answered: no body is read,
nothing is made but the answer's id, and the logs get one record a second with how many there were.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from llm_assets.serving.clients import patience
from llm_assets.serving.engine import Engine, queue_full
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import PackageWatch, Served
from llm_assets.serving.protocol import json_text
from llm_assets.serving.traffic import COUNT, TrafficLog, now
from llm_assets.serving.upstream import Upstream

if TYPE_CHECKING:
    from starlette.types import Scope, Send

requests = logging.getLogger("llm_assets.serving.requests")

ROUTES = frozenset({"/v1/chat/completions", "/v1/completions"})
TOGETHER = 1.0  # seconds of refusals that are one record of the logs


class Admission:
    """longest: the most seconds that a request may take."""

    def __init__(
        self, engine: Engine | Upstream, watch: PackageWatch, traffic: TrafficLog, metrics: Metrics, longest: float
    ) -> None:
        self._engine, self._watch, self._traffic, self._metrics = engine, watch, traffic, metrics
        self._longest = longest
        self._refused: Counter[tuple[str, str]] = Counter()  # by route and digest, since the last record

    def refuses(self, scope: Scope) -> int | None:
        """Whether this request would be refused whatever its body says: the seconds of Retry-After, None where it is to
        be read."""
        if scope["path"] not in ROUTES or scope["method"] != "POST" or not isinstance(self._watch.current, Served):
            return None
        return self._engine.saturated(patience(Headers(raw=scope["headers"]), True, self._longest))

    async def refuse(self, route: str, seconds: int, send: Send) -> None:
        """429; counted now, logged within a second."""
        current = self._watch.current
        self._metrics.rejected.inc()
        self._metrics.finished("error")
        if not self._refused:
            asyncio.get_running_loop().call_later(TOGETHER, self.flush)
        self._refused[route, current.digest if current else ""] += 1
        start, body = _answer(seconds)
        await send({**start})
        await send(body)

    def flush(self) -> None:
        """Log the refusals since the last time: `count` of them in a record of the traffic log."""
        refused, self._refused = self._refused, Counter()
        for (route, digest), count in refused.items():
            requests.info("refused", extra={"fields": {"route": route, "status": 429, "count": count}})
            record = {
                "id": f"refused-{uuid.uuid4().hex}",
                "at": now(),
                "completion_tokens": 0,
                "status": 429,
                "finish_reason": "error",
                "cached": False,
                "digest": digest,
                COUNT: count,
            }
            self._traffic.request(record)


@cache
def _answer(seconds: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The messages that tell 429: the beginning, which is the caller's to copy, and the body."""
    error = queue_full(seconds)
    body = json_text(error.body()).encode()
    headers = {**error.headers, "content-type": "application/json", "content-length": str(len(body))}
    start = {
        "type": "http.response.start",
        "status": error.status,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    return start, {"type": "http.response.body", "body": body}
