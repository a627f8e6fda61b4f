"""The rules of the house: who may import whom, and how light the definitions are."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAGES = [
    "data",
    "prompts",
    "models",
    "training",
    "alignment",
    "compression",
    "evaluation",
    "serving",
    "monitoring",
]
HEAVY = {
    "torch",
    "transformers",
    "great_expectations",
    "pandas",
    "sklearn",
    "matplotlib",
    "onnxruntime",
    "datasets",
}
FILES = sorted((ROOT / "llm_assets").rglob("*.py"))


def imports(path: Path, top_level: bool = False) -> set[str]:
    """Absolute names of the modules a file imports (only at module level, outside TYPE_CHECKING, if `top_level`)."""
    tree = ast.parse(path.read_text())
    found: set[str] = set()
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_data_flows_one_way(stage):
    later = STAGES[STAGES.index(stage) + 1 :]
    for path in (ROOT / "llm_assets" / stage).rglob("*.py"):
        wrong = [name for name in imports(path) if any(name.startswith(f"llm_assets.{other}.") for other in later)]
        assert not wrong, f"{path} imports a later stage: {wrong}"


@pytest.mark.parametrize("stage", STAGES)
def test_stage_code_imports_no_dagster(stage):
    for path in (ROOT / "llm_assets" / stage).rglob("*.py"):
        if path.name != "assets.py":
            assert not {name for name in imports(path) if name.split(".")[0] == "dagster"}, path


def test_heavy_libraries_are_imported_where_they_are_used():
    for path in FILES:
        heavy = {name for name in imports(path, top_level=True) if name.split(".")[0] in HEAVY}
        assert not heavy, f"{path} imports {heavy} when it is itself imported"


def test_loading_the_definitions_imports_nothing_heavy():
    code = f"import sys, llm_assets.definitions; print(sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_only_definitions_knows_all_stages():
    for path in FILES:
        known = {stage for stage in STAGES if any(n.startswith(f"llm_assets.{stage}.assets") for n in imports(path))}
        assert path.name in ("definitions.py", "assets.py") or not known, f"{path} knows the nodes of {known}"


def test_nothing_is_pickled_but_what_our_own_processes_tell_each_other():
    pickling = [path.name for path in FILES if {"pickle", "cloudpickle", "dill", "shelve"} & imports(path)]
    assert pickling == ["executor.py"]
