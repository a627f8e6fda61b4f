"""The recipe: one typed YAML file that says how the factory runs. Each stage owns its section."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from llm_assets.alignment.config import AlignmentConfig
from llm_assets.artifacts import read_json, write_json
from llm_assets.compression.config import CompressionConfig
from llm_assets.config import Section
from llm_assets.data.config import DataConfig
from llm_assets.errors import UserError
from llm_assets.evaluation.config import EvaluationConfig
from llm_assets.models.config import ModelsConfig
from llm_assets.monitoring.config import MonitoringConfig
from llm_assets.prompts.config import PromptsConfig
from llm_assets.serving.config import ServingConfig
from llm_assets.training.config import TrainingConfig
from resources.config import StoreConfig

PROJECT = Path(__file__).resolve().parent.parent
RECIPES = PROJECT / "recipes"
RECIPE_VARIABLE = "LLM_ASSETS_RECIPE"
OVERRIDES_VARIABLE = "LLM_ASSETS_SET"
HOME_VARIABLE = "LLM_ASSETS_HOME"
LAST_RECIPE = "recipe.json"  # in the state folder


class Recipe(Section):
    """One way to run the factory."""

    name: str
    seed: int = Field(7, ge=0, description="the one seed: equal inputs give equal versions")
    threads: int = Field(2, ge=1, description="CPU threads of training and serving; part of what makes a result equal")
    store: StoreConfig = StoreConfig()
    data: DataConfig
    prompts: PromptsConfig = PromptsConfig()
    models: ModelsConfig = ModelsConfig()
    training: TrainingConfig = TrainingConfig()
    alignment: AlignmentConfig = AlignmentConfig()
    compression: CompressionConfig = CompressionConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    serving: ServingConfig = ServingConfig()
    monitoring: MonitoringConfig = MonitoringConfig()


def home_folder() -> Path:
    """Where all state lies: $LLM_ASSETS_HOME, or `.llm_assets` in the project."""
    return Path(os.environ.get(HOME_VARIABLE) or PROJECT / ".llm_assets").absolute()


def find_recipe(name: str) -> Path:
    """A path to a YAML file, or the name of one in `recipes/`."""
    for path in (Path(name), RECIPES / f"{name}.yaml", RECIPES / name):
        if path.is_file():
            return path.absolute()
    known = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
    raise UserError(f"recipe {name!r} is neither a file nor one of: {known}")


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read, override (`key.path=value`, values in YAML) and check a recipe."""
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise UserError(f"recipe {path} is not valid YAML: {error}") from None
    if not isinstance(document, dict):
        raise UserError(f"recipe {path} must be a mapping of sections; it holds {type(document).__name__}")
    for override in overrides:
        _override(document, override)
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = "\n".join(f"  {_problem(item)}" for item in error.errors())
        raise UserError(f"recipe {path}:\n{problems}") from None


def chosen_recipe() -> tuple[str, list[str]]:
    """(name or path, overrides) that this process works by, where nothing else was said.

    $LLM_ASSETS_RECIPE with $LLM_ASSETS_SET; else what the state folder was last run with; else the demo.
    """
    overrides = json.loads(os.environ.get(OVERRIDES_VARIABLE) or "[]")
    if name := os.environ.get(RECIPE_VARIABLE):
        return name, overrides
    try:
        last = read_json(home_folder() / LAST_RECIPE)
        return last["recipe"], overrides or last["overrides"]
    except FileNotFoundError:
        return "demo", overrides


def remember_recipe() -> None:
    """Make the current recipe the one that later commands in this state folder work by."""
    name, overrides = chosen_recipe()
    write_json({"recipe": str(find_recipe(name)), "overrides": overrides}, home_folder() / LAST_RECIPE)


def current_recipe() -> Recipe:
    """The recipe this process runs; see `chosen_recipe`."""
    name, overrides = chosen_recipe()
    return _cached(find_recipe(name), tuple(overrides))


@lru_cache
def _cached(path: Path, overrides: tuple[str, ...]) -> Recipe:
    return load_recipe(path, overrides)


def _override(document: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator:
        raise UserError(f"--set {override!r} must look like section.key=value")
    *parents, last = key.split(".")
    target: Any = document
    for part in parents:
        place = _place(target, part, override)
        if isinstance(target, dict):
            target.setdefault(place, {})
        target = target[place]
    target[_place(target, last, override)] = yaml.safe_load(value)


def _place(container: Any, part: str, override: str) -> str | int:
    """`part` as a key of a section or a position in a list."""
    if isinstance(container, dict):
        return part
    if isinstance(container, list) and part.isdigit() and int(part) < len(container):
        return int(part)
    what = f"a list of {len(container)}" if isinstance(container, list) else f"the value {container!r}"
    raise UserError(f"--set {override!r}: there is no {part!r} in {what}")


def _problem(item: Any) -> str:
    """One line for one error of pydantic: the key, the value, and what was allowed."""
    location, value = item["loc"], item["input"]
    key = ".".join(str(part) for part in location)
    if item["type"] == "extra_forbidden":
        allowed = sorted(_fields_at(Recipe, location[:-1]))
        return f"{key}: unknown key{' (allowed: ' + ', '.join(allowed) + ')' if allowed else ''}"
    if item["type"] == "missing":
        return f"{key}: required, and not given"
    shown = re.sub(r"(://[^/\s:@]*):[^/\s@]*@", r"\1:***@", repr(value))  # no password of a URL
    return f"{key} = {shown}: {item['msg'][0].lower()}{item['msg'][1:]}"


def _fields_at(model: Any, location: Sequence[str | int]) -> list[str]:
    """The keys a section allows, found by walking the recipe's types along `location`."""
    if isinstance(model, type) and issubclass(model, BaseModel):
        if not location:
            return list(model.model_fields)
        field = model.model_fields.get(str(location[0]))
        if field is not None:
            return _fields_at(field.annotation, location[1:])
        tags = [f for f in model.model_fields.values() if location[0] in get_args(f.annotation)]
        return _fields_at(model, location[1:]) if tags else []
    rest = location[1:] if location and isinstance(location[0], int) else location
    for argument in get_args(model):
        if found := _fields_at(argument, rest):
            return found
    return []
