"""The traffic log: what was asked and answered, what people said of it, and the monitoring's own requests.

Under `traffic/`, in parts (`traffic_parts.py`): JSON lines while a part is written, Parquet once it is closed; bounded
in size and age.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.serving.append_log import append
from llm_assets.serving.config import TrafficConfig
from llm_assets.serving.traffic_parts import (
    FEEDBACK,
    KINDS,
    PROBES,
    REQUESTS,
    TYPES,
    Part,
    find,
    keep_within,
    parts,
    records,
    state,
    to_parquet,
)

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
FOLDER = "traffic"
COUNT = "count"  # of a record that stands for several requests, which were refused unread
HOUR = 3600.0  # seconds
RECENT = 10_000  # ids of replies kept in memory; older ones are looked up in the files


class TrafficLog:
    """Appends to the log of a state folder; makes closed parts Parquet, and keeps all within its size and age, in a
    thread of its own."""

    def __init__(self, home: Path, settings: TrafficConfig | None = None) -> None:
        self.folder = home / FOLDER
        self._settings = settings or TrafficConfig()
        self._open: dict[str, Part] = {}
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._keeper: threading.Thread | None = None
        self._keeping, self._closed = threading.Lock(), threading.Event()

    def request(self, record: dict[str, Any], probe: bool = False) -> None:
        """Log a finished request. It has been answered: a full disk does not make it fail."""
        try:
            self._append(PROBES if probe else REQUESTS, record)
        except OSError:
            log.exception("request %s is not in the traffic log", record["id"])
            return
        if not probe:
            self._recent[record["id"]] = None
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)

    def feedback(self, record: dict[str, Any]) -> None:
        self._append(FEEDBACK, record)

    def known(self, reply: str) -> bool:
        """Whether a reply of this id is in the log."""
        return reply in self._recent or find(self.folder, REQUESTS, reply) is not None

    def keep(self, seconds: float = HOUR) -> None:
        """Keep the log within its bounds now and then until `close`, also while nothing is asked."""

        def again() -> None:
            while not self._closed.is_set():
                self._keep_now()
                self._closed.wait(seconds)

        threading.Thread(target=again, name="traffic-bounds", daemon=True).start()

    def close(self) -> None:
        """Wait for the conversion that is under way."""
        self._closed.set()
        if self._keeper:
            self._keeper.join()
        with self._keeping:
            pass

    def _append(self, kind: str, record: dict[str, Any]) -> None:
        day = _today()
        part = self._open.get(kind)
        if part is None or part.day != day:
            self.folder.mkdir(parents=True, exist_ok=True)
            numbers = [part.number for part in parts(self.folder, kind) if part.day == day]
            part = Part(day, max(numbers, default=0), kind, self.folder)
        while _size(part) >= self._settings.file_mb * 2**20 or not append(part.log, record, part.table.exists):
            part = Part(day, part.number + 1, kind, self.folder)
        if part != self._open.get(kind):
            self._open[kind] = part
            self._keep()

    def _keep(self) -> None:
        """In a thread: a part is there that others come before, and these are closed."""
        self._keeper = threading.Thread(target=self._keep_now, name="traffic-log", daemon=True)
        self._keeper.start()

    def _keep_now(self) -> None:
        with self._keeping:
            try:
                keep_log(self.folder, self._settings)
            except (OSError, ValueError):  # the disk is full, say: the JSON lines stay, and are read
                log.exception("the closed parts of the traffic log could not be made Parquet")


def keep_log(folder: Path, settings: TrafficConfig) -> None:
    """Make closed parts Parquet, then remove the oldest ones beyond the bounds."""
    today = _today()
    for kind in KINDS:
        found = parts(folder, kind)
        for part in found:
            if part.log.exists() and (part.day < today or part is not found[-1]):
                to_parquet(part)
    oldest = (datetime.fromisoformat(today) - timedelta(days=settings.days)).date().isoformat()
    keep_within(folder, today, oldest, settings.total_mb * 2**20)


def now() -> str:
    """The time as the log writes it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def log_state(home: Path) -> str:
    """A short text that changes with every request or feedback."""
    listing = "\n".join(state(part) for kind in (REQUESTS, FEEDBACK) for part in parts(home / FOLDER, kind))
    return hashlib.sha256(listing.encode()).hexdigest()[:20]


def read_traffic(home: Path, since: datetime | None = None, digest: str | None = None) -> pd.DataFrame:
    """Finished requests, oldest first, each with the last `rating` and `correction` given to it (None
    without).

    since: only requests from then on. digest: only those answered by this package. Torn or foreign lines
    are skipped. `count` is how many requests a row stands for: 1, but of those that were refused unread.
    """
    import pandas as pd

    first = since.astimezone(UTC).isoformat(timespec="milliseconds") if since else ""
    requests = {
        record["id"]: record
        for record in _records(home, REQUESTS, first[:10])
        if (record.get("at") or "") >= first and digest in (None, record.get("digest"))
    }
    opinions: dict[str, dict[str, Any]] = {}
    for record in _records(home, FEEDBACK, first[:10]):
        if record["id"] in requests:
            # A later thumb does not take back an earlier correction, nor the other way round.
            given = {key: record[key] for key in ("rating", "correction") if record.get(key) is not None}
            opinions[record["id"]] = opinions.get(record["id"], {}) | given | {"feedback_at": record.get("at")}
    rows = [
        {name: record.get(name) for name in TYPES}
        | {COUNT: record.get(COUNT, 1)}
        | {name: opinions.get(key, {}).get(name) for name in ("rating", "correction", "feedback_at")}
        for key, record in requests.items()
    ]
    frame = pd.DataFrame(rows, columns=[*TYPES, COUNT, "rating", "correction", "feedback_at"])
    for name in ("task", "rating", "correction", "feedback_at"):  # None, and not a NaN that looks like a text
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    frame[COUNT] = frame[COUNT].astype(int)
    return frame.sort_values(["at", "id"], ignore_index=True)


def latest_requests(home: Path) -> Iterator[dict[str, Any]]:
    """Answered requests, the latest first."""
    for part in reversed(parts(home / FOLDER, REQUESTS)):
        yield from (record for record in reversed(records(part)) if record.get("status") == 200)


def reply_record(home: Path, reply: str) -> dict[str, Any] | None:
    """The record of the traffic log (or of the probes') with this id; None when there is none."""
    return find(home / FOLDER, REQUESTS, reply) or find(home / FOLDER, PROBES, reply)


def _records(home: Path, kind: str, first_day: str) -> Iterator[dict[str, Any]]:
    for part in parts(home / FOLDER, kind):
        if part.day >= first_day:
            yield from records(part)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _size(part: Part) -> int:
    try:
        return part.log.stat().st_size
    except FileNotFoundError:
        return 0
