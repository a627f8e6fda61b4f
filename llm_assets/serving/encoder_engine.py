"""The encoder's engine: one thread that embeds and classifies texts in batches of one width.

Texts wait by the width that they are padded to. A batch is the width that the oldest text waits for, and as many of its
texts as `batch_tokens` holds: little is padding, none starves, and a text is always computed at its own width, so
that its result does not depend on what shares its batch. A request holds its package: those that began with the old
one end with it, whatever is deployed meanwhile. What would not be answered in time is refused, as by the engine that
generates (`load.py`); work is counted in tokens, padding included.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_assets.serving.config import ServingConfig
from llm_assets.serving.engine import queue_full
from llm_assets.serving.load import LEARNED, Load, late, nearly_late, retry_after
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import ServedEncoder
from llm_assets.serving.protocol import ApiError

if TYPE_CHECKING:
    import numpy as np

    from llm_assets.inference.encoder_model import Encoded

log = logging.getLogger(__name__)


@dataclass(eq=False)
class Work:
    """One request's texts, as token ids, and what has been computed of them. deadline: of the monotonic clock."""

    package: ServedEncoder
    texts: Sequence[Sequence[int]]
    deadline: float
    future: Future[Encoded] = field(default_factory=Future)
    queued: float = field(default_factory=time.monotonic)
    found: dict[int, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Waiting:
    number: int  # of arrival
    work: Work
    index: int  # of the text in its request


class EncoderEngine:
    def __init__(self, settings: ServingConfig, metrics: Metrics) -> None:
        self._settings, self._metrics = settings.encoder, metrics
        self._waiting: dict[tuple[ServedEncoder, int], deque[Waiting]] = {}
        self._numbers = itertools.count()
        self._load = Load(1, self._settings.batch_tokens)
        self._usual = 1.0  # texts of a request
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._loop, name="encoder-engine", daemon=True)
        self._thread.start()

    def submit(self, package: ServedEncoder, texts: Sequence[Sequence[int]], deadline: float) -> Future[Encoded]:
        """Queue all texts of a request, or none: ApiError 429 when there is no room, or when what waits would keep them
        from being answered in time.

        The future holds their results in order, or an ApiError; cancelling it takes what still waits from the queue.
        """
        work = Work(package, texts, deadline)
        own = self._takes(sum(package.model.width(len(ids)) for ids in texts))
        with self._changed:
            waiting, before = self._ahead()
            self._usual += LEARNED * (len(texts) - self._usual)
            full = waiting and waiting + len(texts) > self._settings.queue_limit
            if full or late(before, own, deadline - time.monotonic()):
                self._metrics.rejected.inc()
                raise queue_full(retry_after(before))
            for index, ids in enumerate(texts):
                key = package, package.model.width(len(ids))
                self._waiting.setdefault(key, deque()).append(Waiting(next(self._numbers), work, index))
            self._metrics.waiting.set(waiting + len(texts))
            self._changed.notify()
        return work.future

    def saturated(self, seconds: float) -> int | None:
        """Retry-After where a request that may take so many seconds need not even be read: there is no room for one of
        the usual number of texts, or what waits takes up nearly all of the time. None otherwise."""
        waiting, before = self._ahead()
        full = waiting and waiting + self._usual > self._settings.queue_limit
        return retry_after(before) if full or nearly_late(before, seconds) else None

    def _ahead(self) -> tuple[int, float]:
        """How many texts wait, and how many seconds of work they are."""
        queues = [(width, len(queue)) for (_, width), queue in list(self._waiting.items())]
        return sum(count for _, count in queues), self._takes(sum(width * count for width, count in queues))

    def _takes(self, tokens: int) -> float:
        return self._load.takes(tokens, self._settings.batch_tokens)

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _loop(self) -> None:
        while True:
            with self._changed:
                while not (self._waiting or self._closing):
                    self._changed.wait()
                if self._closing:
                    return
                batch = self._take()
                self._metrics.waiting.set(sum(map(len, self._waiting.values())))
            if batch:
                self._metrics.running.set(len(batch))
                self._run(batch)
                self._metrics.running.set(0)

    def _take(self) -> list[Waiting]:
        """The next batch: texts of one package and one width. Texts whose request has ended leave the queue with it."""
        key = min(self._waiting, key=lambda key: self._waiting[key][0].number)
        queue, room = self._waiting[key], max(1, self._settings.batch_tokens // key[1])
        batch: list[Waiting] = []
        now = time.monotonic()
        while queue and len(batch) < room:
            item = queue.popleft()
            if not item.work.future.done() and now >= item.work.deadline:
                wrong = "the request was not answered within its deadline"
                _end(item.work, ApiError(504, wrong, "server_error", code="deadline_exceeded"))
            if not item.work.future.done():
                batch.append(item)
        if not queue:
            del self._waiting[key]
        return batch

    def _run(self, batch: list[Waiting]) -> None:
        started = time.monotonic()
        texts = [item.work.texts[item.index] for item in batch]
        try:
            got = batch[0].work.package.model.encode(texts)
        except Exception:
            log.exception("a batch of %d texts failed", len(batch))
            for item in batch:
                _end(item.work, ApiError(500, "the model failed on this request", "server_error", code="engine_error"))
            return
        width = batch[0].work.package.model.width(len(texts[0]))  # that of all
        self._load.did(width * len(texts), width * len(texts), time.monotonic() - started)
        self._metrics.batch_size.observe(len(batch))
        for row, item in enumerate(batch):
            self._metrics.queue_time.observe(started - item.work.queued)
            classes = None if got.probabilities is None else got.probabilities[row]
            item.work.found[item.index] = got.embeddings[row], classes
            if len(item.work.found) == len(item.work.texts):
                _finish(item.work)


def _finish(work: Work) -> None:
    import numpy as np

    from llm_assets.inference.encoder_model import Encoded

    rows = [work.found[index] for index in range(len(work.texts))]
    classes = [row[1] for row in rows if row[1] is not None]
    _end(work, Encoded(np.stack([row[0] for row in rows]), np.stack(classes) if classes else None))


def _end(work: Work, outcome: Encoded | ApiError) -> None:
    try:
        if isinstance(outcome, ApiError):
            work.future.set_exception(outcome)
        else:
            work.future.set_result(outcome)
    except InvalidStateError:  # its client has gone, or another of its texts has failed
        pass
