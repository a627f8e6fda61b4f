"""Writes the tables of keys into docs/*.md, from the recipe's own types: `.venv/bin/python docs/write_options.py`.

A table stands between `<!-- options: MODULE.CLASS -->` and `<!-- end -->`; the module is one of `llm_assets`.
"""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

FOLDER = Path(__file__).resolve().parent
TABLE = re.compile(r"(<!-- options: ([\w.]+) -->\n).*?(<!-- end -->)", re.S)
SIGNS = {"ge": "≥ ", "gt": "> ", "le": "≤ ", "lt": "< "}
WORDS = {bool: "true, false", int: "whole number", float: "number", str: "text", dict: "mapping", list: "list"}


def main() -> None:
    for path in sorted(FOLDER.glob("*.md")):
        path.write_text(with_options(path.read_text(encoding="utf-8")), encoding="utf-8")


def with_options(text: str) -> str:
    """`text` with every table of keys made anew."""
    return TABLE.sub(lambda match: match[1] + "\n".join(_table(match[2])) + "\n" + match[3], text)


def section(name: str) -> type[BaseModel]:
    """The class of a marker."""
    module, _, kind = name.rpartition(".")
    found: type[BaseModel] = getattr(importlib.import_module(f"llm_assets.{module}"), kind)
    return found


def _table(name: str) -> list[str]:
    lines = ["| key | allowed | default | what it says |", "|---|---|---|---|"]
    for key, field in section(name).model_fields.items():
        if key in ("kind", "method") and field.default is not None and not field.is_required():
            shown = [f"`{field.default}`", "", (section(name).__doc__ or "").split("\n\n")[0]]
        else:
            shown = [_allowed(field), _default(field), field.description or ""]
        lines.append("| " + " | ".join([f"`{key}`", *map(_plain, shown)]) + " |")
    return lines


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _allowed(field: FieldInfo) -> str:
    bounds = [
        f"{sign}{getattr(item, key):g}" for item in field.metadata for key, sign in SIGNS.items() if hasattr(item, key)
    ]
    return ", ".join([_kind(field.annotation), *bounds])


def _kind(annotation: Any) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin is Union or type(annotation).__name__ == "UnionType":
        return " or ".join(_kind(item) for item in arguments if item is not type(None))
    if origin is list and get_origin(arguments[0]) is Literal:
        return f"list of {_kind(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return WORDS.get(
        origin or annotation, "section" if origin is not None and hasattr(annotation, "__metadata__") else "text"
    )


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, list) and value and isinstance(value[0], BaseModel):
        value = [item.kind for item in value]
    return f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    main()
