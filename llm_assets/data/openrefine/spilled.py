"""Cell values as JSON, for what waits in files: nothing that is read back can be more than a value."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from llm_assets.data.openrefine.values import EvalError, Value


def dumps(value: Any) -> bytes:
    """A value, or lists of them, as JSON on one line; tuples become lists."""
    return _encode(value).encode()


def loads(data: bytes) -> Any:
    """What `dumps` was given."""
    return _decode(data.decode())


def _tagged(value: Value) -> dict[str, str]:
    if isinstance(value, datetime):
        return {"datetime": value.isoformat()}
    if isinstance(value, EvalError):
        return {"error": value.message}
    raise TypeError(f"a cell cannot hold a {type(value).__name__}")


def _untagged(found: dict[str, str]) -> Value:
    ((tag, text),) = found.items()
    return datetime.fromisoformat(text) if tag == "datetime" else EvalError(text)


_encode = json.JSONEncoder(default=_tagged, separators=(",", ":")).encode
_decode = json.JSONDecoder(object_hook=_untagged).decode
