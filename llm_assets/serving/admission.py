"""Requests that are refused before they are read: those that come while an engine has all the work it can do in time.

What this costs is taken from the engine, so under a flood it decides how much is still answered: no body is parsed,
nothing is made but the answer's id, and the logs get one record a second with how many there were. Let in all the same
is a body, byte for byte, that asked for a reply which the cache keeps: it asks nothing of the engine.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import uuid
from collections import Counter, OrderedDict
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers

from llm_assets.serving.clients import patience
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.encoder_engine import EncoderEngine
from llm_assets.serving.engine import Engine, queue_full
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import PackageWatch, Served, ServedEncoder
from llm_assets.serving.protocol import json_text
from llm_assets.serving.traffic import COUNT, TrafficLog, now
from llm_assets.serving.upstream import Upstream

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

requests = logging.getLogger("llm_assets.serving.requests")

COMPLETIONS = frozenset({"/v1/chat/completions", "/v1/completions"})
ENCODINGS = frozenset({"/v1/embeddings", "/v1/classify"})
TOGETHER = 1.0  # seconds of refusals that are one record of the logs


class Admission:
    """Decides on completions, embeddings and classifications; whatever else is asked is let in."""

    def __init__(
        self,
        engine: Engine | Upstream,
        encoder: EncoderEngine,
        watch: PackageWatch,
        traffic: TrafficLog,
        metrics: Metrics,
        settings: ServingConfig,
    ) -> None:
        self._engine, self._encoder, self._watch = engine, encoder, watch
        self._traffic, self._metrics, self._settings = traffic, metrics, settings
        self._answered: OrderedDict[bytes, None] = OrderedDict()  # digests of bodies that asked for what the cache has
        self._refused: Counter[tuple[str, str]] = Counter()  # by route and digest, since the last record

    def learn(self, body: bytes, cached: bool) -> None:
        """Whether the reply that `body` asks for is in the cache now."""
        digest = _digest(body)
        self._answered.pop(digest, None)
        if cached:
            self._answered[digest] = None
        while len(self._answered) > self._settings.cache_entries:
            self._answered.popitem(last=False)

    async def check(self, scope: Scope, receive: Receive) -> tuple[int | None, Receive]:
        """The seconds of Retry-After where this request is refused, None where it is to be read; and how to read it."""
        seconds = self._saturated(scope) if scope["method"] == "POST" else None
        if seconds is None or scope["path"] in ENCODINGS or not self._answered:
            return seconds, receive
        message = await receive()
        known = not message.get("more_body") and _digest(message.get("body", b"")) in self._answered
        return None if known else seconds, _first(message, receive)

    def _saturated(self, scope: Scope) -> int | None:
        """Retry-After where the engine that this request is for has no room for it."""
        path, served, headers = scope["path"], self._watch.current, Headers(raw=scope["headers"])
        longest = self._settings.deadline_seconds
        if path in COMPLETIONS and isinstance(served, Served):
            return self._engine.saturated(patience(headers, True, longest))
        if path in ENCODINGS and isinstance(served, ServedEncoder):
            return self._encoder.saturated(patience(headers, False, longest))
        return None

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


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _first(message: Message, receive: Receive) -> Receive:
    """As `receive`, which has given `message` already."""
    pending = [message]

    async def again() -> Message:
        return pending.pop() if pending else await receive()

    return again


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
