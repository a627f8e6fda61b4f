"""What people said of replies, accepted as training data."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from llm_assets.serving.append_log import read_lines
from llm_assets.serving.labels import preferred
from llm_assets.serving.traffic import read_traffic

LICENCE = "user feedback"
SOURCE = "feedback"


@dataclass(frozen=True)
class Accepted:
    """count: rows of training data that come from feedback. new: those of them that came now."""

    count: int
    new: int
    path: Path
    digest: str


def accepted_path(home: Path) -> Path:
    return home / "feedback" / "accepted.jsonl"


def pending_feedback(home: Path) -> tuple[list[dict[str, str]], int]:
    """The rows `accept_feedback` would write, ordered by id, and how many of them are not accepted yet."""
    path = accepted_path(home)
    old = {row["text"]: row for row in (read_lines(path) if path.exists() else [])}
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
        replace_text(path, text)
    return Accepted(len(rows), new, path, hashlib.sha256(text.encode()).hexdigest()[:16])


def accept_votes(home: Path) -> Accepted:
    """Make people's votes preference pairs: `feedback/labelled.jsonl`, one a line, as `preference_pairs` reads them.

    All of it is worked out anew from the votes, so a vote taken back goes. Equal votes give equal bytes.
    """
    rows = [
        {"id": pair.id, "task": pair.task, "text": pair.text, "chosen": chosen, "rejected": rejected}
        for pair, chosen, rejected in preferred(home)
    ]
    path = home / "feedback" / "labelled.jsonl"
    old = list(read_lines(path)) if path.exists() else []
    text = "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows)
    if old != rows:
        replace_text(path, text)
    new = sum(row not in old for row in rows)
    return Accepted(len(rows), new, path, hashlib.sha256(text.encode()).hexdigest()[:16])


def replace_text(path: Path, text: str) -> None:
    """The file changes all at once, or not at all."""
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
