"""A state folder and a recipe for sensors to look at."""

from __future__ import annotations

import dagster as dg
import pytest


@pytest.fixture
def home(tmp_path, monkeypatch):
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "name: tiny\ndata:\n  sources: [{kind: files, paths: [nothing.csv]}]\n"
        "monitoring: {retrain: {min_feedback: 3, cooldown_minutes: 10, daily_budget: 2}}\n"
    )
    monkeypatch.setenv("LLM_ASSETS_RECIPE", str(path))
    monkeypatch.setenv("LLM_ASSETS_SET", "[]")
    monkeypatch.setenv("LLM_ASSETS_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as made:
        yield made
