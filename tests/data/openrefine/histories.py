"""Operations as OpenRefine exports them, short to write, and their replay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from llm_assets.data.openrefine.history import prepare, replay
from llm_assets.data.openrefine.table import concatenate, table_of

SHARED = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
ALL = {"mode": "row-based", "facets": []}


def shared(name: str) -> Path:
    path = SHARED / "openrefine" / name
    if not path.exists():
        pytest.skip(f"openrefine/{name} is not in {SHARED}; set LLM_ASSETS_TEST_DATA")
    return path


def done(operations, columns, part: int | None = None):
    """The columns after the operations; with `part`, given to the replay in parts of so many rows."""
    table = table_of({name: list(cells) for name, cells in columns.items()})
    step = part or max(table.rows, 1)
    parts = [table.take(range(n, min(n + step, table.rows))) for n in range(0, max(table.rows, 1), step)]
    return concatenate(list(replay(prepare(operations), parts))).columns


def transform(column, expression, **more):
    return {"op": "core/text-transform", "description": "", "engineConfig": ALL, "columnName": column} | {
        "expression": expression, "onError": "keep-original", "repeat": False, "repeatCount": 10
    } | more  # fmt: skip


def listed(column, *choices, mode="row-based", **more):
    chosen = [{"v": {"v": choice, "l": str(choice)}} for choice in choices]
    facet = {"type": "list", "name": column, "expression": "value", "columnName": column, "selection": chosen}
    return {"engineConfig": {"mode": mode, "facets": [facet | {"omitBlank": False, "omitError": False} | more]}}


def faceted(facet, mode="row-based"):
    return {"engineConfig": {"mode": mode, "facets": [facet]}}
