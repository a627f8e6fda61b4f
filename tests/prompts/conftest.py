"""The small world of `tests/models/tiny_world.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "models"))


@pytest.fixture(scope="session")
def tiny():
    """name -> folder of every artifact of models and training, made once a session."""
    from tiny_world import built_once

    return built_once()
