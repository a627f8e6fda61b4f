"""The engine: one thread that turns waiting rows into batches, reads their prompts once and decodes together.

A row is one choice of one request. A batch is what waits (at most `max_batch` rows of one package, after a
window of a few milliseconds); rows leave it as they finish. Rows of another package wait for the next batch,
so a hot swap never mixes two models and never interrupts one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from llm_assets.serving.config import ServingConfig
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import Served
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.reply_text import ReplyText
from llm_assets.serving.sampling import Matcher, Sampler, Sampling, TokenLogprob

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Piece:
    """Text that a row has produced. `finish` is None until its last piece: "stop" or "length"."""

    index: int
    text: str
    tokens: int
    finish: str | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


Event = Piece | ApiError


@dataclass(eq=False)
class Row:
    """One choice of one request. `emit` is called from the engine's thread. Times are of the monotonic
    clock.
    """

    package: Served
    prompt: list[int]
    sampling: Sampling
    index: int
    deadline: float
    emit: Callable[[Event], None]
    matcher: Matcher | None = None
    queued: float = field(default_factory=time.monotonic)
    cancelled: bool = False
    started: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0


class Engine:
    def __init__(self, settings: ServingConfig, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._waiting: deque[Row] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def submit(self, rows: list[Row]) -> None:
        """Queue the rows of one request: all of them or none. Raises ApiError 429 when the queue is full."""
        with self._changed:
            if len(self._waiting) + len(rows) > self._settings.queue_limit:
                self._metrics.rejected.inc()
                raise ApiError(
                    429,
                    f"{len(self._waiting)} requests are waiting already; try again in a second",
                    "rate_limit_error",
                    code="queue_full",
                    headers={"retry-after": "1"},
                )
            self._waiting.extend(rows)
            self._metrics.waiting.set(len(self._waiting))
            self._changed.notify()

    def cancel(self, rows: list[Row]) -> None:
        """The client has gone: its rows leave the queue now, and the batch after the step that is running."""
        with self._changed:
            for row in rows:
                row.cancelled = True
                if row in self._waiting:
                    self._waiting.remove(row)
            self._metrics.waiting.set(len(self._waiting))

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _loop(self) -> None:
        while True:
            batch = self._collect()
            if batch is None:
                return
            self._metrics.running.set(len(batch))
            self._metrics.batch_size.observe(len(batch))
            try:
                self._run(batch)
            except Exception:
                log.exception("a batch of %d rows failed", len(batch))
                for row in batch:
                    row.emit(ApiError(500, "the model failed on this request", "server_error", code="engine_error"))
            self._metrics.running.set(0)

    def _collect(self) -> list[Row] | None:
        """The next batch; None when closing."""
        window = self._settings.batch_window_ms / 1000
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._closing:
                return None
            # More may be on their way; a full batch, or one that has waited its window already, goes at once.
            until = self._waiting[0].queued + window
            while len(self._waiting) < self._settings.max_batch and (left := until - time.monotonic()) > 0:
                self._changed.wait(left)
                if not self._waiting:
                    return []
            package = self._waiting[0].package
            batch = [row for row in self._waiting if row.package is package][: self._settings.max_batch]
            for row in batch:
                self._waiting.remove(row)
            self._metrics.waiting.set(len(self._waiting))
        return batch

    def _run(self, batch: list[Row]) -> None:
        now = time.monotonic()
        rows = [row for row in batch if not row.cancelled and not _late(row, now)]
        if not rows:
            return
        model = rows[0].package.model
        for row in rows:
            row.started = now
            self._metrics.queue_time.observe(now - row.queued)
        state, logits = model.prefill(
            [row.prompt for row in rows], max(len(row.prompt) + row.sampling.max_tokens for row in rows)
        )
        self._metrics.prefill_time.observe(time.monotonic() - now)
        texts = [ReplyText(model.tokenizer, row.sampling.stop) for row in rows]
        randoms = [Sampler(row.sampling, row.prompt, model.eos, row.index, row.matcher) for row in rows]
        while True:
            tokens = [random.choose(logits[at])[0] for at, random in enumerate(randoms)]
            now = time.monotonic()
            going = [at for at, row in enumerate(rows) if self._advance(row, texts[at], tokens[at], model.eos, now)]
            if not going:
                return
            if len(going) < len(rows):
                rows, texts, randoms = ([items[at] for at in going] for items in (rows, texts, randoms))  # type: ignore[assignment]
                tokens, state = [tokens[at] for at in going], state.keep(going)
                self._metrics.running.set(len(rows))
            logits = model.decode(state, np.array(tokens, dtype=np.int64))

    def _advance(self, row: Row, text: ReplyText, token: int, eos: int, now: float) -> bool:
        """Take one token into a row and tell its client; whether the row goes on."""
        if row.cancelled or _late(row, now):
            return False
        if row.first_token:
            self._metrics.inter_token.observe(now - row.last_token)
        else:
            row.first_token = now
            self._metrics.ttft.observe(now - row.queued)
        row.last_token = now
        if token == eos:
            row.emit(Piece(row.index, text.rest(), text.tokens + 1, "stop"))
            return False
        piece = text.add(token)
        full = text.tokens >= row.sampling.max_tokens
        if text.stopped or full:
            row.emit(Piece(row.index, piece + text.rest(), text.tokens, "stop" if text.stopped else "length"))
            return False
        if piece:
            row.emit(Piece(row.index, piece, text.tokens))
        return True


def _late(row: Row, now: float) -> bool:
    if now < row.deadline:
        return False
    row.emit(
        ApiError(504, "the request was not answered within its deadline", "server_error", code="deadline_exceeded")
    )
    return True
