"""The engine: one thread that serves all rows, a step at a time (continuous batching: Yu et al. 2022, "Orca").

A step reads some tokens of prompts that wait, and decodes one token for every row that has read its own; rows join and
leave between steps. Each loaded package has a lane of its own, so a hot swap never mixes two models: rows that began
with the old one end with it, and its memory goes with the last of them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from llm_assets.serving.config import ServingConfig
from llm_assets.serving.lane import Lane
from llm_assets.serving.load import Load, nearly_late, retry_after
from llm_assets.serving.metrics import Metrics
from llm_assets.serving.package import Served, ServedEncoder
from llm_assets.serving.protocol import ApiError
from llm_assets.serving.rows import Event, Piece, Row

log = logging.getLogger(__name__)
Deliver = Callable[[list[tuple[Row, Event]]], object]
LOOK = 0.01  # seconds for which `saturated` goes by what it saw


def deliver_here(events: list[tuple[Row, Event]]) -> None:
    """Tell rows in the engine's own thread."""
    for row, event in events:
        row.emit(event)


def queue_full(seconds: int) -> ApiError:
    """What a request is told that there is no room for."""
    wrong = f"the server has all the work that it can do in time; try again in {seconds} s"
    return ApiError(429, wrong, "rate_limit_error", code="queue_full", headers={"retry-after": str(seconds)})


class Engine:
    """deliver: brings a step's events to their rows' `emit`; a server has it done in its event loop."""

    def __init__(self, settings: ServingConfig, metrics: Metrics, deliver: Deliver = deliver_here) -> None:
        self.deliver = deliver
        self._settings, self._metrics = settings, metrics
        self._lanes: dict[Served, Lane] = {}
        self._prepared: tuple[Served, Lane] | None = None
        self._load = Load(settings.max_batch, settings.prefill_tokens)
        self._arrived: list[Row] = []
        self._events: list[tuple[Row, Event]] = []
        self._changed = threading.Condition()
        self._closing = False
        self._looked, self._waiting, self._before = 0.0, 0, 0.0  # what `saturated` saw, and when
        self._stepped = 0.0  # when the last step ended, or work came after none was there
        self._thread = threading.Thread(target=self._loop, name="engine", daemon=True)
        self._thread.start()

    def prepare(self, package: Served | ServedEncoder, _: Path) -> None:
        """Lay out what a package that is about to be served needs, so that its first rows do not wait for memory."""
        self._prepared = (package, self._new_lane(package)) if isinstance(package, Served) else None

    def submit(self, rows: list[Row]) -> None:
        """Queue the rows of one request: all of them or none. Raises ApiError 429 when the queue is full, or when
        what is before them would keep them from being answered in time."""
        with self._changed:
            waiting, ahead, before = self._ahead()
            full = waiting + len(rows) > self._settings.queue_limit
            if full or self._load.too_late(before, ahead, rows, time.monotonic()):
                self._metrics.rejected.inc()
                raise queue_full(retry_after(before))
            self._arrived.extend(rows)
            self._looked = 0.0
            self._metrics.waiting.set(waiting + len(rows))
            self._changed.notify()

    def saturated(self, seconds: float) -> int | None:
        """Retry-After where a request that may take so many seconds need not even be read: the queue is full, or its
        work takes up nearly all of the time. None otherwise. Cheap: the queue is looked at now and then."""
        if (now := time.monotonic()) - self._looked > LOOK:
            self._waiting, _, self._before = self._ahead()
            self._looked = now
        full = self._waiting >= self._settings.queue_limit or nearly_late(self._before, seconds)
        return retry_after(self._before) if full else None

    def _ahead(self) -> tuple[int, int, float]:
        """How many rows wait, how many these and the running ones are, and how many seconds of work."""
        lanes = list(self._lanes.values())
        queued = [*self._arrived, *(row for lane in lanes for row in list(lane.waiting))]
        waiting = [row for row in queued if not row.cancelled]
        running = [row for lane in lanes for row in lane.rows if not row.cancelled]
        ahead = [*waiting, *running]
        return len(waiting), len(ahead), self._load.seconds(ahead)

    def cancel(self, rows: list[Row]) -> None:
        """The client has gone: its rows leave their slots, or the queue, after the step that is running."""
        for row in rows:
            row.cancelled = True

    def close(self) -> None:
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(timeout=5)

    def _loop(self) -> None:
        while self._take_in():
            did = [self._step(lane) for lane in list(self._lanes.values())]
            busy = list(self._lanes.values())
            self._metrics.running.set(sum(len(lane.rows) for lane in busy))
            self._metrics.waiting.set(len(self._arrived) + sum(len(lane.waiting) for lane in busy))
            self._metrics.kv_usage.set(sum(lane.used for lane in busy) / sum(lane.room for lane in busy))
            self._flush()
            # All of the time since the last step counts, the waiting for the interpreter's lock too.
            began, self._stepped = self._stepped, time.monotonic()
            size, tokens = (sum(counts) for counts in zip(*did, strict=True))
            self._load.did(tokens, size, self._stepped - began)

    def _step(self, lane: Lane) -> tuple[int, int]:
        """One step of a lane's rows, or several: how many tokens one has read and decoded, and all of them."""
        try:
            read = lane.read()
            if read and lane.gathers:
                return read, read
            rows, tokens = lane.decode()
            return read + rows, read + tokens
        except Exception:
            log.exception("a step of %d rows failed", len(lane.rows))
            wrong = ApiError(500, "the model failed on this request", "server_error", code="engine_error")
            for row in lane.rows:
                self._tell(row, wrong)
            lane.drop(lambda row: True)
            return 0, 0

    def _take_in(self) -> bool:
        """Wait for work, and sort out who is new, who has gone and who is late; False when closing."""
        with self._changed:
            while not (self._arrived or self._closing or any(lane.busy for lane in self._lanes.values())):
                self._changed.wait()
                self._stepped = time.monotonic()
            arrived, self._arrived = self._arrived, []
        # The lane of a package that is served no more goes with its last row.
        for package in [package for package, lane in list(self._lanes.items())[:-1] if not lane.busy]:
            del self._lanes[package]
        for row in arrived:
            if row.package not in self._lanes:
                self._lanes[row.package] = self._lane(row.package)
                self._stepped = time.monotonic()  # to lay out a cache says nothing of the engine's speed
            self._lanes[row.package].waiting.append(row)
        now = time.monotonic()
        for lane in self._lanes.values():
            lane.drop(lambda row: row.cancelled or self._late(row, now))
        self._flush()
        return not self._closing

    def _lane(self, package: Served) -> Lane:
        prepared = self._prepared
        if prepared is None or prepared[0] is not package:
            return self._new_lane(package)
        self._prepared = None
        return prepared[1]

    def _new_lane(self, package: Served) -> Lane:
        return Lane(package, self._settings, self._metrics, self._tell, self._flush, lambda: bool(self._arrived))

    def _late(self, row: Row, now: float) -> bool:
        if now < row.deadline:
            return False
        wrong = "the request was not answered within its deadline"
        self._tell(row, ApiError(504, wrong, "server_error", code="deadline_exceeded"))
        return True

    def _tell(self, row: Row, event: Event) -> None:
        self._events.append((row, event))
        if isinstance(event, Piece) and event.finish:
            self._load.finished(row, event.tokens)

    def _flush(self) -> None:
        events, self._events = self._events, []
        if events:
            self.deliver(events)
