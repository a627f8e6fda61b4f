"""The documentation holds: recipes are valid, Python and commands exist, tables of keys are the recipe's own."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from llm_assets.errors import UserError
from llm_assets.recipe import load_recipe

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
MINIMAL = {"name": "documentation", "data": {"sources": [{"kind": "feedback"}]}}


def blocks(language: str) -> list[Any]:
    """(id, text) of each fenced block of a language in all pages."""
    return [
        pytest.param(match[2], id=f"{page.name}:{page.read_text('utf-8')[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in BLOCK.finditer(page.read_text("utf-8"))
        if match[1] == language
    ]


def load(tmp_path: Path, snippet: str):
    """The snippet as a recipe: what it leaves out that must be there is added."""
    part = yaml.safe_load(snippet)
    whole = MINIMAL | part | {"data": MINIMAL["data"] | part.get("data", {})}
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(whole), encoding="utf-8")
    return load_recipe(tmp_path / "recipe.yaml")


@pytest.mark.parametrize("snippet", blocks("yaml"))
def test_recipe_snippets_are_valid(tmp_path, snippet) -> None:
    load(tmp_path, snippet)


def test_a_snippet_with_a_wrong_key_would_be_found(tmp_path) -> None:
    with pytest.raises(UserError, match=r"data\.clean\.min_char: unknown key"):
        load(tmp_path, "data: {clean: {min_char: 3}}")


@pytest.mark.parametrize("code", blocks("python"))
def test_what_python_imports_is_there(code) -> None:
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.ImportFrom) and node.module:
            module = importlib.import_module(node.module)
            assert all(hasattr(module, name.name) for name in node.names), ast.unparse(node)


def test_the_examples_of_the_data_stage_run(tmp_path) -> None:
    """One after the other, as a person types them, on a file of their own."""
    said = "the river rose and took that old bridge with it before anyone in town could have been there to see it"
    lines = [f"{said[4 * (n % 7) :]}; write to team{n}@example.org about number {n}" for n in range(60)]
    rows = [f'"{line}",{"billing" if n % 3 else "network"}' for n, line in enumerate(lines)]
    (tmp_path / "tickets.csv").write_text("\n".join(["text,team", *rows]) + "\n", encoding="utf-8")
    found: dict[str, Any] = {}
    examples = [parameter.values[0] for parameter in blocks("python") if str(parameter.id).startswith("data.md")]
    for code in examples[:3]:
        for name in ('"tickets.csv"', '".llm_assets"'):
            code = code.replace(name, repr(str(tmp_path / name.strip('"'))))
        exec(code, found)
    assert found["raw"].num_rows == 60
    assert (
        found["train"].num_rows >= found["documents"].filter(found["documents"]["split"].to_numpy() == "train").num_rows
    )
    assert found["reports"]["pii"].changed == 60
    assert found["kept"].num_rows + found["rejected"].num_rows == 60
    assert found["more"].shape == (100, 8) and sorted(found["groups"]).count("rare") == 50


@pytest.mark.parametrize("text", blocks(""))
def test_commands_and_what_they_set_exist(tmp_path, text) -> None:
    from typer.main import get_command

    from llm_assets.cli import app

    known = get_command(app).commands  # type: ignore[attr-defined]
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["llm-assets"]:
            options = {name for parameter in known[words[1]].params for name in parameter.opts}
            assert {word for word in words if word.startswith("-")} <= options, line
            sets = [after for word, after in pairwise(words) if word == "--set"]
            load_recipe(ROOT / "recipes" / "labelled_text.yaml", sets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text("utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


def test_tables_of_keys_are_those_of_the_recipe() -> None:
    spec = importlib.util.spec_from_file_location("write_options", ROOT / "docs" / "write_options.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for page in PAGES[1:]:
        text = page.read_text("utf-8")
        assert module.with_options(text) == text, f"{page.name}: run docs/write_options.py"


def test_the_steps_of_cleaning_are_all_told(tmp_path) -> None:
    """In the order in which they run, under the names that reports, gates and the UI have."""
    from llm_assets.artifacts import write_table
    from llm_assets.data.clean import clean_documents
    from llm_assets.data.config import CleanConfig
    from llm_assets.data.rows import documents_table, text_hash

    words = ["roof", "door", "window", "garden", "wall", "floor", "cellar", "stair"]
    texts = [f"The {words[n % 8]} with number {n} of the house is a thing that we have seen." for n in range(64)]
    rows = [
        {"id": text_hash(text), "text": text, "label": "ab"[n % 2], "source": "t", "uri": f"t:{n}", "content_hash": "",
         "parents": [], "steps": []}
        for n, text in enumerate(texts)
    ]  # fmt: skip
    write_table(documents_table(rows), tmp_path / "documents.parquet")
    (tmp_path / "history.json").write_text("[]")
    on: dict[str, Any] = {"enabled": True}
    quality = {"gopher_quality": on | {"min_words": 3}, "c4": on | {"min_sentences": 1}, "fineweb": on}
    config = CleanConfig.model_validate({
        "openrefine": str(tmp_path / "history.json"), "rules": [{"pattern": "x", "replacement": "y"}], "min_chars": 5,
        "mask_labels": True, "spelling": on, "pii": on, "quality": quality, "labels": {"merge": "fingerprint"},
        "near_duplicates": {"enabled": False}, "label_errors": on | {"folds": 2}, "decontaminate": on,
    })  # fmt: skip
    (tmp_path / "out").mkdir()
    metrics = clean_documents(tmp_path, tmp_path / "out", config).metrics
    done = [name.removesuffix("_changed") for name in metrics if name.endswith("_changed")]
    page = (ROOT / "docs" / "data.md").read_text("utf-8")
    told = page[page.index("| step | what it does |") :].partition("\n\n")[0].splitlines()[2:]
    names = [name for line in told for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
    assert ["rule …" if name.startswith("rule ") else name for name in done] == names
