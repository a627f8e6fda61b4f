"""The packages and live endpoints of the serving tests, and a recipe that points at them."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

_path = Path(__file__).resolve().parent.parent / "serving" / "conftest.py"
_spec = importlib.util.spec_from_file_location("serving_fixtures", _path)
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
packages, documents, endpoint, live = _module.packages, _module.documents, _module.endpoint, _module.live


@pytest.fixture
def recipe_for(tmp_path):
    """A recipe whose endpoint is the given one."""
    from llm_assets.recipe import load_recipe

    def make(endpoint, *overrides: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(
            "name: tiny\nthreads: 1\ndata:\n  sources: [{kind: files, paths: [nothing.csv]}]\n"
            f"serving: {{port: {endpoint.port}}}\n"
        )
        return load_recipe(path, overrides)

    return make
