"""API keys: who may come in."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from pathlib import Path

from llm_assets.errors import UserError

KEY_VARIABLE = "LLM_ASSETS_API_KEY"


def api_key(home: Path) -> str:
    """The first of the endpoint's keys, made on first use. Raises UserError where the file of keys is empty."""
    keys = Keys(home).all()
    if not keys:
        raise UserError(f"{home / 'endpoint' / 'api_key'} holds no key: put one in it, or delete it to have one made.")
    return keys[0]


class Keys:
    """$LLM_ASSETS_API_KEY, several apart by commas; or the lines of `endpoint/api_key` (mode 0600), which is read again
    when it changes, so a key can be added or withdrawn while the server runs."""

    def __init__(self, home: Path) -> None:
        self._path = home / "endpoint" / "api_key"
        self._given = [key for key in map(str.strip, os.environ.get(KEY_VARIABLE, "").split(",")) if key]
        self._read: list[str] = []
        self._version: tuple[int, int] | None = None

    def all(self) -> list[str]:
        """The keys; where there is none, one is made."""
        if self._given:
            return self._given
        try:
            state = self._path.stat()
        except FileNotFoundError:
            _make(self._path)
            state = self._path.stat()
        if (state.st_mtime_ns, state.st_size) != self._version:
            self._read = self._path.read_text(encoding="utf-8", errors="replace").split()
            self._version = (state.st_mtime_ns, state.st_size)
        return self._read

    def named(self, authorization: bytes) -> str | None:
        """A short name, for logs, of the key in an Authorization header; None where it holds none of ours. Takes as
        long whichever it is."""
        kind, _, given = authorization.partition(b" ")
        found = None
        for key in self.all():
            if hmac.compare_digest(given.strip(), key.encode()):
                found = hashlib.sha256(key.encode()).hexdigest()[:8]
        return found if kind.lower() == b"bearer" else None


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"api_key.{uuid.uuid4().hex}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write("sk-" + secrets.token_urlsafe(32))
    try:
        os.link(partial, path)  # fails where another process was first: then its key is the key
    except FileExistsError:
        pass
    finally:
        partial.unlink()
