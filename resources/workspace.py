"""The two things every asset needs from outside: the recipe it runs by, and the store its versions lie in."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from llm_assets.recipe import Recipe, current_recipe, home_folder
from resources.dvc_store import DvcStore
from resources.store import VersionStore


class RecipeResource(dg.ConfigurableResource):
    """The recipe named by $LLM_ASSETS_RECIPE (the demo by default)."""

    def load(self) -> Recipe:
        return current_recipe()


class StoreResource(dg.ConfigurableResource):
    """The version store under the state folder."""

    @property
    def folder(self) -> Path:
        return home_folder()

    def open(self) -> VersionStore:
        return open_store(home_folder())


def open_store(home: Path) -> DvcStore:
    return DvcStore(home / "store")
