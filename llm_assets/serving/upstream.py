"""Generation by another server: vLLM, or any other that speaks OpenAI's protocol.

This process stays the front: keys, prompts of tasks, caches, the traffic log, pages and metrics are the same. What
changes is who computes the tokens. A row's prompt is sent as token ids, so no template is applied twice. The other
server is asked for the model by the digest of the package (`vllm serve CHECKPOINT --served-model-name DIGEST`): it can
only answer with the weights that the reply names, and a package is taken when the other server has its digest.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from llm_assets.errors import UserError
from llm_assets.serving.config import BackendConfig, ServingConfig
from llm_assets.serving.engine import Deliver, deliver_here, queue_full
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import Served, ServedEncoder
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.rows import Event, Piece, Row
from llm_assets.serving.sampling import Sampling

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
CONNECT = 5.0  # seconds
INERT = {"top_k": 0, "min_p": 0.0, "min_tokens": 0, "ignore_eos": False, "repetition_penalty": 1.0}


class Upstream:
    """What the desk needs of an engine. At most `max_batch` and `queue_limit` rows together are under way."""

    def __init__(self, backend: BackendConfig, settings: ServingConfig, metrics: Metrics) -> None:
        import httpx

        self.deliver: Deliver = deliver_here
        self._backend, self._metrics = backend, metrics
        self._room = settings.max_batch + settings.queue_limit
        limits = httpx.Limits(max_connections=None)
        timeout = httpx.Timeout(None, connect=CONNECT)
        self._http = httpx.AsyncClient(base_url=backend.url, headers=_headers(backend), timeout=timeout, limits=limits)
        self._tasks: dict[Row, asyncio.Task[None]] = {}

    def submit(self, rows: list[Row]) -> None:
        """Send the rows of one request. Raises ApiError 429 where too many are under way, 400 for what cannot be asked
        of another server."""
        if self._tasks and len(self._tasks) + len(rows) > self._room:
            self._metrics.rejected.inc()
            raise queue_full(1)
        for row in rows:
            if row.matcher or row.sampling.logprobs is not None:
                what = "a constraint" if row.matcher else "'logprobs'"
                raise ApiError(400, f"{what} is not supported by this backend", code="unsupported_parameter")
        for row in rows:
            self._tasks[row] = task = asyncio.get_running_loop().create_task(self._answer(row))
            task.add_done_callback(lambda _, row=row: self._done(row))  # type: ignore[misc]
        self._metrics.running.set(len(self._tasks))

    def saturated(self, seconds: float) -> int | None:
        """Retry-After where one more reply would be too many, else None; the other server's speed is not known here."""
        return 1 if len(self._tasks) >= self._room else None

    def cancel(self, rows: list[Row]) -> None:
        """The client has gone: closing the connections tells the other server."""
        for row in rows:
            if task := self._tasks.get(row):
                task.cancel()

    def close(self) -> None:
        self.cancel(list(self._tasks))

    def require(self, served: Served | ServedEncoder) -> None:
        """UserError unless the other server has the model of this package. An encoder runs here."""
        if isinstance(served, ServedEncoder):
            return
        name = _name(self._backend, served.digest)
        if name not in (found := models(self._backend)):
            raise UserError(
                f"the server at {self._backend.url} has {', '.join(found) or 'no model'}, not {name!r}. "
                f"Serve the model there under this name (vllm serve … --served-model-name {name})"
            )

    def _done(self, row: Row) -> None:
        self._tasks.pop(row, None)
        self._metrics.running.set(len(self._tasks))

    async def _answer(self, row: Row) -> None:
        try:
            async with asyncio.timeout(row.deadline - time.monotonic()):
                async for piece in self._pieces(row):
                    self._tell(row, piece)
        except ApiError as error:
            self._tell(row, error)
        except TimeoutError:
            wrong = "the request was not answered within its deadline"
            self._tell(row, ApiError(504, wrong, "server_error", code="deadline_exceeded"))
        except Exception as error:  # httpx's, or a reply that is not what the protocol says
            log.error("the server at %s failed: %r", self._backend.url, error)
            wrong = f"the server behind this one failed ({type(error).__name__})"
            self._tell(row, ApiError(502, wrong, "server_error", code="upstream_error"))

    def _tell(self, row: Row, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, Piece):
            if row.first_token:
                self._metrics.inter_token.observe(now - row.last_token)
            else:
                row.first_token = now
                self._metrics.ttft.observe(now - row.queued)
            row.last_token = now
        self.deliver([(row, event)])

    async def _pieces(self, row: Row) -> AsyncIterator[Piece]:
        body = _body(row, _name(self._backend, row.package.digest))
        async with self._http.stream("POST", "completions", json=body) as reply:
            if reply.status_code != 200:
                raise _refused(reply.status_code, await reply.aread(), reply.headers.get("retry-after"))
            text, tokens, finish = "", 0, None
            async for event in _events(reply):
                if event.get("usage"):
                    tokens = event["usage"]["completion_tokens"]
                for choice in event["choices"]:
                    text, finish = choice["text"], choice["finish_reason"] or finish
                    if text and not choice["finish_reason"]:
                        tokens += 1
                        yield Piece(row.index, text, tokens)
                        text = ""
            if finish is None:
                raise ValueError("the stream ended before the reply did")
            yield Piece(row.index, text, tokens, "length" if finish == "length" else "stop")


def models(backend: BackendConfig) -> list[str]:
    """The names of the models that the other server has. UserError where it does not answer."""
    import httpx

    try:
        reply = httpx.get(f"{backend.url.rstrip('/')}/models", headers=_headers(backend), timeout=CONNECT)
        reply.raise_for_status()
        return [model["id"] for model in reply.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise UserError(f"the server at {backend.url} (serving.backend.url) does not answer: {error}") from None


def _name(backend: BackendConfig, digest: str) -> str:
    return backend.model or digest


def _headers(backend: BackendConfig) -> dict[str, str]:
    if backend.api_key_env is None:
        return {}
    key = os.environ.get(backend.api_key_env)
    if not key:
        raise UserError(f"${backend.api_key_env} (serving.backend.api_key_env) is not set")
    return {"authorization": f"Bearer {key}"}


def _body(row: Row, model: str) -> dict[str, Any]:
    """The request for one row. What OpenAI does not have is sent only where it was asked for."""
    wanted: Sampling = row.sampling
    body = {
        "model": model,
        "prompt": row.prompt,
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": wanted.max_tokens,
        "temperature": wanted.temperature,
        "top_p": wanted.top_p,
        "presence_penalty": wanted.presence_penalty,
        "frequency_penalty": wanted.frequency_penalty,
    }
    if wanted.stop:
        body["stop"] = list(wanted.stop)
    if wanted.seed is not None:
        body["seed"] = (wanted.seed + row.index) % 2**63  # choices of one request differ
    if wanted.logit_bias:
        body["logit_bias"] = {str(token): bias for token, bias in wanted.logit_bias}
    return body | {name: value for name, inert in INERT.items() if (value := getattr(wanted, name)) != inert}


async def _events(reply: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    """The stream's objects. Raises ApiError for the error that may be its last."""
    async for line in reply.aiter_lines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise _refused(502, data.encode(), None)
        yield event


def _refused(status: int, body: bytes, retry: str | None) -> ApiError:
    """The other server's error as ours. Its faults, and its refusal of our key, are not the client's."""
    try:
        message = str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        message = f"status {status}"
    if status in (400, 429):
        headers = {"retry-after": retry or "1"} if status == 429 else {}
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        return ApiError(status, message, kind, code="upstream_refused", headers=headers)
    return ApiError(502, f"the server behind this one: {message}", "server_error", code="upstream_error")
