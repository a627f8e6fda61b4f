"""Texts that cost a model's time or money, kept on disk by what they were made of."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any


class TextCache:
    """text -> what a model made of it, in one SQLite file; `model` names everything but the text that it depends on.

    Each `put` is one transaction: a killed process leaves what it had put, and several may use the file at once.
    """

    def __init__(self, path: Path, model: Mapping[str, Any]) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._model = json.dumps(model, sort_keys=True)
        self._connection = sqlite3.connect(path, timeout=60, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("CREATE TABLE IF NOT EXISTS texts (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID")

    def get(self, texts: Sequence[str]) -> list[str | None]:
        """What is known of each text."""
        found = []
        for text in texts:
            row = self._connection.execute("SELECT value FROM texts WHERE key = ?", (self._key(text),)).fetchone()
            found.append(row[0] if row else None)
        return found

    def put(self, texts: Sequence[str], values: Sequence[str]) -> None:
        """Keep all of these, or none."""
        rows = [(self._key(text), value) for text, value in zip(texts, values, strict=True)]
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            self._connection.executemany("INSERT OR REPLACE INTO texts VALUES (?, ?)", rows)
            self._connection.execute("COMMIT")
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()

    def _key(self, text: str) -> str:
        return hashlib.sha256(f"{self._model}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


def folder_digest(folder: Path) -> str:
    """Hash of a model folder's files: names and contents. A file is read again when it has changed."""
    listing = []
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            state = path.stat()
            digest = _file_digest(path, state.st_ino, state.st_size, state.st_mtime_ns)
            listing.append([path.relative_to(folder).as_posix(), digest])
    return hashlib.sha256(json.dumps(listing).encode()).hexdigest()[:32]


@lru_cache(maxsize=10_000)
def _file_digest(path: Path, *state: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
