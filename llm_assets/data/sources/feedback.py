"""People's corrections, accepted as training data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from llm_assets.data.rows import document_id, text_hash
from llm_assets.data.sources.config import Feedback
from llm_assets.data.sources.found import Found
from llm_assets.errors import UserError

FEEDBACK = "feedback"


def feedback_path(source: Feedback, home: Path) -> Path:
    return home / source.path  # an absolute path stays itself


def read_feedback(source: Feedback, home: Path) -> Iterator[Found]:
    """Documents {id, text, label, uri, licence} of a JSON-lines file; of two with one id the later holds."""
    path = feedback_path(source, home)
    if not path.is_file():
        return
    rows: dict[str, Found] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
            text, label = str(value["text"]), str(value["label"])
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise UserError(
                f"{path}, line {number}: not an object with text and label ({error}); correct or remove the line"
            ) from None
        uri = str(value.get("uri") or f"feedback://{text_hash(text)}")
        identity = str(value.get("id") or document_id(FEEDBACK, uri))
        rows[identity] = Found(uri, text, label, id=identity, licence=str(value.get("licence") or "unknown"))
    yield from (rows[identity] for identity in sorted(rows))


def feedback_state(source: Feedback, home: Path) -> str:
    path = feedback_path(source, home)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:24] if path.is_file() else "absent"
