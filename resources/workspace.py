"""The two things every asset needs from outside: the recipe it runs by, and the store its versions lie in."""

from __future__ import annotations

from pathlib import Path

import dagster as dg

from llm_assets.recipe import Recipe, current_recipe, home_folder
from resources.dvc_store import DvcStore
from resources.lakefs_client import find_access
from resources.lakefs_store import LakeFSStore
from resources.store import VersionStore


class RecipeResource(dg.ConfigurableResource):
    """The recipe named by $LLM_ASSETS_RECIPE (the demo by default)."""

    def load(self) -> Recipe:
        return current_recipe()


class StoreResource(dg.ConfigurableResource):
    """The version store that the recipe names."""

    @property
    def folder(self) -> Path:
        return home_folder()

    def open(self) -> VersionStore:
        return open_store(home_folder())


def open_store(home: Path) -> DvcStore | LakeFSStore:
    """The store of this process's recipe, and of the state folder `home`."""
    config = current_recipe().store
    if config.kind == "lakefs":
        return LakeFSStore(home / "lakefs", find_access(config, home), config)
    return DvcStore(home / "store")
