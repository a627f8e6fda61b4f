"""A small state folder with three published runs of the real graph's data stage, shared by the tests that only read."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_world import RECIPE, Small, feedback, go, texts

from resources.workspace import open_store


@pytest.fixture(scope="session")
def small_session(tmp_path_factory) -> Small:
    """v1: files and packages. v2: with two rows of feedback, and a text changed. v3: other cleaning rules."""
    folder = tmp_path_factory.mktemp("small")
    small = Small(folder)
    rows = texts()
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    small.recipe.write_text(RECIPE.format(texts=folder / "texts.jsonl"))
    go(small.home, small.recipe)
    small.feedback = feedback(small.home, "weight", "height")
    rows[4]["text"] = rows[4]["text"].replace("gives what", "hands over what")
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    go(small.home, small.recipe)
    small.recipe.write_text(small.recipe.read_text().replace("min_chars: 30", "min_chars: 60"))
    from llm_assets import recipe as recipes

    recipes._cached.cache_clear()
    go(small.home, small.recipe)
    return small


@pytest.fixture
def small(small_session, monkeypatch) -> Small:
    """The shared state, for a test that changes nothing of it."""
    for name, value in small_session.environment.items():
        monkeypatch.setenv(name, value)
    return small_session


@pytest.fixture
def copy(small_session, tmp_path, monkeypatch) -> Small:
    """A copy of the shared state, for a test that changes it."""
    made = Small(tmp_path)
    shutil.copytree(small_session.home, made.home, copy_function=_copy)
    made.recipe.write_text(small_session.recipe.read_text())
    made.feedback = small_session.feedback
    for name, value in (made.environment | {"DAGSTER_HOME": "", "LLM_ASSETS_SET": "[]"}).items():
        monkeypatch.setenv(name, value)
    return made


@pytest.fixture
def store(tmp_path):
    """An empty store."""
    return open_store(tmp_path)


def _copy(source: str, target: str) -> None:
    """Contents are linked, as checkouts link them; what is written in place (databases, feedback) is copied."""
    if "/store/cache/" in source or "/store/checkouts/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)
