"""Real tables for tests, read from the folder of test data."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pyarrow as pa
import pytest

SHARED = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in {SHARED}; set LLM_ASSETS_TEST_DATA")
    return path


def read(name: str) -> list[dict[str, str]]:
    with shared(name).open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream, skipinitialspace=True))


def as_table(rows: list[dict[str, str]], columns: list[str]) -> pa.Table:
    return pa.table({name: pa.array([row[name] or None for row in rows], pa.string()) for name in columns})
