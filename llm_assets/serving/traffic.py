"""The traffic log: what was asked and answered, what people said of it, and the training data in it.

`traffic/YYYY-MM-DD[.n].jsonl` holds one finished request a line, `feedback-YYYY-MM-DD.jsonl` one piece of
feedback a line, `probes-YYYY-MM-DD.jsonl` the monitoring's own requests. A line is one write to a file
opened for appending, so writers do not mix and a kill leaves at most one torn line, which readers skip.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.serving.config import TrafficConfig

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "id", "at", "model", "task", "text", "reply", "prompt_tokens", "completion_tokens", "latency_ms", "ttft_ms",
    "status", "finish_reason", "cached", "digest",
)  # fmt: skip
RECENT = 10_000  # ids of replies kept in memory; older ones are looked up in the files
LICENCE = "user feedback"
SOURCE = "feedback"


@dataclass(frozen=True)
class Accepted:
    """count: rows of training data that come from feedback. new: those of them that came now."""

    count: int
    new: int
    path: Path
    digest: str


class TrafficLog:
    """Appends to the log of a state folder; keeps it within its size and age."""

    def __init__(self, home: Path, settings: TrafficConfig | None = None) -> None:
        self.folder = home / "traffic"
        self._settings = settings or TrafficConfig()
        self._parts: dict[str, int] = {}
        self._pruned = ""
        self._recent: OrderedDict[str, None] = OrderedDict()

    def request(self, record: dict[str, Any], probe: bool = False) -> None:
        self._append("probes-" if probe else "", record)
        if not probe:
            self._recent[record["id"]] = None
            if len(self._recent) > RECENT:
                self._recent.popitem(last=False)

    def feedback(self, record: dict[str, Any]) -> None:
        self._append("feedback-", record)

    def known(self, reply: str) -> bool:
        """Whether a reply of this id is in the log."""
        if reply in self._recent:
            return True
        mark = f'"id":{json.dumps(reply)}'.encode()
        return any(mark in path.read_bytes() for path in reversed(_files(self.folder, "")))

    def _append(self, prefix: str, record: dict[str, Any]) -> None:
        day = datetime.now(UTC).date().isoformat()
        if day != self._pruned:
            self._prune(day)
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        handle = os.open(self._path(prefix + day), os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":
                line = b"\n" + line  # a kill tore the last line: it must not swallow this one
            os.write(handle, line)
        finally:
            os.close(handle)

    def _path(self, stem: str) -> Path:
        """The file to append to: a full one is left, and the next one begun."""
        while True:
            part = self._parts.get(stem, 0)
            path = self.folder / (f"{stem}.{part}.jsonl" if part else f"{stem}.jsonl")
            if not path.exists() or path.stat().st_size < self._settings.file_mb * 2**20:
                return path
            self._parts[stem] = part + 1
            self._pruned = ""

    def _prune(self, day: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        oldest = (datetime.fromisoformat(day) - timedelta(days=self._settings.days)).date().isoformat()
        files = sorted(self.folder.glob("*.jsonl"), key=lambda path: (_day(path), path.name), reverse=True)
        total = 0
        for path in files:
            total += path.stat().st_size
            if _day(path) != day and (_day(path) < oldest or total > self._settings.total_mb * 2**20):
                path.unlink(missing_ok=True)
        self._pruned = day


def now() -> str:
    """The time as the log writes it: ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def log_state(home: Path) -> str:
    """A short text that changes with every request or feedback: the files' names and sizes, hashed."""
    files = [*_files(home / "traffic", ""), *_files(home / "traffic", "feedback-")]
    listing = "\n".join(f"{path.name} {path.stat().st_size}" for path in files)
    return hashlib.sha256(listing.encode()).hexdigest()[:20]


def read_traffic(home: Path, since: datetime | None = None, digest: str | None = None) -> pd.DataFrame:
    """Finished requests, oldest first, each with the last `rating` and `correction` given to it (None
    without).

    since: only requests from then on. digest: only those answered by this package. Torn or foreign lines
    are skipped.
    """
    import pandas as pd

    first = since.astimezone(UTC).isoformat(timespec="milliseconds") if since else ""
    requests = {
        record["id"]: record
        for record in _records(home / "traffic", "", first[:10])
        if record.get("at", "") >= first and digest in (None, record.get("digest"))
    }
    opinions: dict[str, dict[str, Any]] = {}
    for record in _records(home / "traffic", "feedback-", first[:10]):
        if record["id"] in requests:
            # A later thumb does not take back an earlier correction, nor the other way round.
            given = {key: record[key] for key in ("rating", "correction") if record.get(key) is not None}
            opinions[record["id"]] = opinions.get(record["id"], {}) | given | {"feedback_at": record.get("at")}
    rows = [
        {name: record.get(name) for name in COLUMNS}
        | {name: opinions.get(key, {}).get(name) for name in ("rating", "correction", "feedback_at")}
        for key, record in requests.items()
    ]
    frame = pd.DataFrame(rows, columns=[*COLUMNS, "rating", "correction", "feedback_at"])
    for name in ("task", "rating", "correction", "feedback_at"):  # None, and not a NaN that looks like a text
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return frame.sort_values(["at", "id"], ignore_index=True)


def reply_record(home: Path, reply: str) -> dict[str, Any] | None:
    """The line of the traffic log (or of the probes') with this id; None when there is none."""
    mark = f'"id":{json.dumps(reply)}'.encode()
    for prefix in ("", "probes-"):
        for path in reversed(_files(home / "traffic", prefix)):
            with path.open("rb") as stream:
                for line in stream:
                    if mark in line and (record := _parsed(line)) and record.get("id") == reply:
                        return record
    return None


def accepted_path(home: Path) -> Path:
    return home / "feedback" / "accepted.jsonl"


def pending_feedback(home: Path) -> tuple[list[dict[str, str]], int]:
    """The rows `accept_feedback` would write, ordered by id, and how many of them are not accepted yet."""
    path = accepted_path(home)
    old = {row["text"]: row for row in (_lines(path) if path.exists() else [])}
    rows = dict(old)
    traffic = read_traffic(home)
    given = traffic[traffic["feedback_at"].notna() & (traffic["task"] == "route")]
    for item in given.sort_values(["feedback_at", "id"]).to_dict("records"):
        confirmed = item["reply"] if item["rating"] == "up" else None
        label = str(item["correction"] or confirmed or "").strip()
        text = item["text"]
        if label and text and rows.get(text, {}).get("label") != label:
            rows[text] = {
                "id": hashlib.sha256(text.encode()).hexdigest()[:20],
                "text": text,
                "label": label,
                "uri": f"reply://{item['id']}",
                "licence": LICENCE,
                "source": SOURCE,
            }
    merged = sorted(rows.values(), key=lambda row: row["id"])
    return merged, sum(old.get(row["text"]) != row for row in merged)


def accept_feedback(home: Path) -> Accepted:
    """Make people's corrections training data: `feedback/accepted.jsonl`, one row a text, the last word on
    it.

    A correction of a route reply gives its label; thumbs-up without one confirms the reply as label. Rows
    accepted before stay. Equal feedback gives equal bytes; the file changes all at once.
    """
    rows, new = pending_feedback(home)
    path = accepted_path(home)
    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        try:
            with partial.open("w", encoding="utf-8") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    return Accepted(len(rows), new, path, hashlib.sha256(text.encode()).hexdigest()[:16])


def _files(folder: Path, prefix: str) -> list[Path]:
    """The files of one kind, oldest first."""
    files = [path for path in folder.glob(f"{prefix}[0-9]*.jsonl") if path.is_file()]
    return sorted(files, key=lambda path: (_day(path), len(path.name), path.name))


def _day(path: Path) -> str:
    return path.name.removeprefix("feedback-").removeprefix("probes-")[:10]


def _records(folder: Path, prefix: str, first_day: str) -> Iterator[dict[str, Any]]:
    for path in _files(folder, prefix):
        if _day(path) >= first_day:
            for record in _lines(path):
                if isinstance(record.get("id"), str):
                    yield record


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as stream:
        for line in stream:
            if (record := _parsed(line)) is not None:
                yield record


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
