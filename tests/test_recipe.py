"""Recipes: a wrong one is refused with the key, the value and what was allowed."""

from __future__ import annotations

import pytest

from llm_assets.errors import UserError
from llm_assets.recipe import RECIPES, find_recipe, load_recipe

SHIPPED = sorted(RECIPES.glob("*.yaml"))
MINIMAL = "name: mine\ndata:\n  sources:\n    - {kind: files, paths: [x.csv]}\n"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid(path):
    assert load_recipe(path).name == path.stem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MINIMAL + "speed: fast\n", ["speed", "unknown key", "seed", "serving"]),
        (MINIMAL + "training: {spee: 1}\n", ["training.spee", "unknown key", "allowed"]),
        (MINIMAL + "seed: lots\n", ["seed = 'lots'", "integer"]),
        (MINIMAL + "serving: {port: 99999}\n", ["serving.port = 99999", "65535"]),
        (MINIMAL.replace("files", "ftp"), ["data.sources.0", "ftp", "installed_packages", "files"]),
        ("data: {sources: []}\n", ["name: required"]),
        ("- a\n- b\n", ["must be a mapping"]),
        ("a: [", ["not valid YAML"]),
    ],
)
def test_a_wrong_recipe_is_explained(tmp_path, text, expected):
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        load_recipe(path)
    for part in (str(path), *expected):
        assert part in str(error.value)


def test_overrides_reach_lists_and_sections(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    recipe = load_recipe(path, ["data.sources.0.paths=[a.csv, b.csv]", "serving.port=9001", "seed=3"])
    assert recipe.data.sources[0].paths == ["a.csv", "b.csv"]
    assert (recipe.serving.port, recipe.seed) == (9001, 3)


@pytest.mark.parametrize("override", ["seed", "data.sources.7.paths=[a]", "name.deeper=1", "data.sources.x=1"])
def test_a_wrong_override_is_named(tmp_path, override):
    path = tmp_path / "mine.yaml"
    path.write_text(MINIMAL)
    with pytest.raises(UserError, match=r"--set"):
        load_recipe(path, [override])


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(UserError, match=r"'nonesuch'.*demo"):
        find_recipe("nonesuch")
