"""Generation by another server: vLLM, or any other that speaks OpenAI's protocol.

This process stays the front: keys, prompts of tasks, caches, the traffic log, pages and metrics are the same. What
changes is who computes the tokens. A row's prompt is sent as token ids, so no template is applied twice. The other
server is asked for the model by the digest of the package (`vllm serve CHECKPOINT --served-model-name DIGEST`): it can
only answer with the weights that the reply names, and a package is taken when the other server has its digest. A vLLM
that this process starts has one package's weights: the next package gets one of its own.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.serving.config import BackendConfig, ServingConfig
from llm_assets.serving.engine import Deliver, deliver_here, queue_full
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import Served, ServedEncoder
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.rows import Event, Piece, Row
from llm_assets.serving.upstream_protocol import pieces, refused, request_body
from llm_assets.serving.vllm import Place, VllmServer

log = logging.getLogger(__name__)
CONNECT = 5.0  # seconds
AGAIN = 5.0  # seconds at least between two starts of a vLLM that ends by itself


class Upstream:
    """What the desk needs of an engine. At most `max_batch` and `queue_limit` rows together are under way.

    log: the file that a vLLM writes to that is started here.
    """

    def __init__(self, backend: BackendConfig, settings: ServingConfig, metrics: Metrics, log: Path) -> None:
        import httpx

        self.deliver: Deliver = deliver_here
        self._backend, self._settings, self._metrics, self._log = backend, settings, metrics, log
        self._room = settings.max_batch + settings.queue_limit
        _headers(backend)  # a variable that is not set is told now
        limits = httpx.Limits(max_connections=None)
        self._http = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=CONNECT), limits=limits)
        self._tasks: dict[Row, asyncio.Task[None]] = {}
        self._started: dict[str, VllmServer] = {}  # by the package's digest
        self._current = ""
        self._starting = threading.Lock()

    def submit(self, rows: list[Row]) -> None:
        """Send the rows of one request. Raises ApiError 429 where too many are under way."""
        if self._tasks and len(self._tasks) + len(rows) > self._room:
            self._metrics.rejected.inc()
            raise queue_full(1)
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
        self._current = ""
        for server in list(self._started.values()):
            server.close()

    def prepare(self, served: Served | ServedEncoder, package: Path) -> None:
        """UserError unless another server has the model of this package, started now where that is asked for. An
        encoder runs here."""
        if self._backend.vllm:
            self._start(served, package)
        elif isinstance(served, Served):
            place = self._place(served.digest)
            if place.model not in (found := models(place)):
                raise UserError(
                    f"the server at {place.url} has {', '.join(found) or 'no model'}, not {place.model!r}. "
                    f"Serve the model there under this name (vllm serve … --served-model-name {place.model})"
                )

    def _start(self, served: Served | ServedEncoder, package: Path) -> None:
        """Start a vLLM for `served`; those of earlier packages end when no request can need them any more."""
        with self._starting:
            if isinstance(served, Served) and served.digest not in self._started:
                server = self._launch(served, package)
                keeper = threading.Thread(target=self._keep, args=[served, package, server], name="vllm", daemon=True)
                keeper.start()
            self._current = served.digest
            for digest in self._started.keys() - {served.digest}:
                timer = threading.Timer(self._settings.deadline_seconds + CONNECT, self._retire, [digest])
                timer.daemon = True
                timer.start()

    def _launch(self, served: Served, package: Path) -> VllmServer:
        """A vLLM that answers. UserError where it does not come to that."""
        assert self._backend.vllm
        server = VllmServer(served, package, self._backend.vllm, self._log)
        self._started[served.digest] = server
        try:
            server.wait(self._settings.start_seconds)
        except BaseException:
            del self._started[served.digest]
            raise
        return server

    def _keep(self, served: Served, package: Path, server: VllmServer) -> None:
        """Start it again where it ends while it is needed."""
        while True:
            status = server.ended()
            with self._starting:
                if self._current != served.digest or self._started.get(served.digest, server) is not server:
                    return
                log.error("vllm has ended (%s); it is started again", status)
                try:
                    server = self._launch(served, package)
                except UserError as error:
                    log.error("%s", error)
            time.sleep(AGAIN)

    def _retire(self, digest: str) -> None:
        with self._starting:
            if digest != self._current and (server := self._started.pop(digest, None)):
                server.close()

    def _place(self, digest: str) -> Place:
        """Where the model of a package is. ApiError 503 while its vLLM is being started again."""
        if self._backend.url is not None:
            return place_of(self._backend, digest)
        server = self._started.get(digest)
        if server is None or not server.ready:
            why = "vLLM has ended, and is being started again"
            raise ApiError(503, why, "server_error", code="model_not_ready", headers={"retry-after": "5"})
        return server.place

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
            log.error("the server behind this one failed: %r", error)
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
        place = self._place(row.package.digest)
        body = request_body(row, place.model)
        async with self._http.stream("POST", f"{place.url}/completions", json=body, headers=place.headers) as reply:
            if reply.status_code != 200:
                raise refused(reply.status_code, await reply.aread(), reply.headers.get("retry-after"))
            async for piece in pieces(row, reply):
                yield piece


def place_of(backend: BackendConfig, digest: str) -> Place:
    """Where a running server has the model of a package."""
    assert backend.url
    return Place(backend.url.rstrip("/"), backend.model or digest, _headers(backend))


def models(place: Place) -> list[str]:
    """The names of the models that another server has. UserError where it does not answer."""
    import httpx

    try:
        reply = httpx.get(f"{place.url}/models", headers=place.headers, timeout=CONNECT)
        reply.raise_for_status()
        return [model["id"] for model in reply.json()["data"]]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise UserError(f"the server at {place.url} (serving.backend.url) does not answer: {error}") from None


def _headers(backend: BackendConfig) -> dict[str, str]:
    if backend.api_key_env is None:
        return {}
    key = os.environ.get(backend.api_key_env)
    if not key:
        raise UserError(f"${backend.api_key_env} (serving.backend.api_key_env) is not set")
    return {"authorization": f"Bearer {key}"}
