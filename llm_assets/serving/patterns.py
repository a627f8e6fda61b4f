"""Regular expressions that mean the same to everyone.

Which characters \\d, \\w and \\s stand for depends on the engine: ASCII in JSON Schema (ECMA 262), Unicode in Python
and Rust, of different versions. Where they are ASCII, a reply that matches for one matches for all.
"""

from __future__ import annotations

import re
from typing import Any

_SETS = {"d": "0-9", "w": "0-9A-Za-z_", "s": r" \t\n\r\f\v"}
_DATA = frozenset({"const", "default", "enum", "examples"})  # keywords of JSON Schema that hold values, not schemas
_PARTS = re.compile(r"\\.|\[\^?\]?|\]|[^\\\[\]]+", re.DOTALL)


def ascii_classes(regex: str) -> str:
    """`regex` with \\d, \\w and \\s for ASCII characters only, and outside of [] also \\D, \\W and \\S."""
    parts, depth = [], 0
    for part in _PARTS.findall(regex):
        depth += part.startswith("[") - (part == "]" and depth > 0)
        letter = part[1:]
        if part[0] == "\\" and letter in _SETS:
            part = _SETS[letter] if depth else f"[{_SETS[letter]}]"
        elif part[0] == "\\" and letter.lower() in _SETS and not depth:
            part = f"[^{_SETS[letter.lower()]}]"
        parts.append(part)
    return "".join(parts)


def ascii_schema(schema: Any) -> Any:
    """A JSON schema with `ascii_classes` in its patterns."""
    if isinstance(schema, list):
        return [ascii_schema(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    changed: dict[str, Any] = {}
    for name, value in schema.items():
        if name == "pattern" and isinstance(value, str):
            changed[name] = ascii_classes(value)
        elif name == "patternProperties" and isinstance(value, dict):
            changed[name] = {ascii_classes(regex): ascii_schema(inner) for regex, inner in value.items()}
        else:
            changed[name] = value if name in _DATA else ascii_schema(value)
    return changed
