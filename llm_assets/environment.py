"""The environment that every process of the factory shares: state folder, recipe, Dagster instance, quiet libraries."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from llm_assets.recipe import (
    HOME_VARIABLE,
    OVERRIDES_VARIABLE,
    PROJECT,
    RECIPE_VARIABLE,
    chosen_recipe,
    find_recipe,
    home_folder,
    load_recipe,
)

QUIET = {
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads are dear where other processes share the cores
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "PYTHONWARNINGS": "ignore",
}


def enter(recipe: str | None = None, overrides: Sequence[str] = ()) -> None:
    """Make this process, and every process it starts, work on `recipe` (by default the `chosen_recipe`).

    Raises UserError when the recipe cannot be found or is wrong.
    """
    name, chosen = chosen_recipe()
    if recipe:
        name, chosen = recipe, json.loads(os.environ.get(OVERRIDES_VARIABLE) or "[]")
    chosen = list(overrides) or chosen
    path = find_recipe(name)
    load_recipe(path, chosen)
    home = home_folder()
    for key, value in QUIET.items():
        os.environ.setdefault(key, value)
    os.environ.update(
        {
            HOME_VARIABLE: str(home),
            RECIPE_VARIABLE: str(path),
            OVERRIDES_VARIABLE: json.dumps(chosen),
            "DAGSTER_HOME": str(dagster_home(home)),
        }
    )


def dagster_home(home: Path) -> Path:
    """The instance's folder: the project's `dagster.yaml` with its relative paths put under `home`."""
    folder = home / "dagster"
    folder.mkdir(parents=True, exist_ok=True)
    text = (PROJECT / "dagster.yaml").read_text(encoding="utf-8").replace(" .llm_assets/", f" {home}/")
    target = folder / "dagster.yaml"
    if not target.exists() or target.read_text(encoding="utf-8") != text:
        partial = folder / f"dagster.yaml.{os.getpid()}"
        partial.write_text(text, encoding="utf-8")
        partial.replace(target)
    return folder
