"""Small real states: runs of the graph's data stage, and versions written by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from llm_assets.data.rows import text_hash
from resources.workspace import open_store

RECIPE = """
name: small
data:
  sources:
    - {{kind: installed_packages, packages: [rich, typer, httpx], max_per_package: 80}}
    - {{kind: files, paths: [{texts}], text_column: text, label_column: label, licence: CC0-1.0}}
    - {{kind: feedback}}
  clean: {{min_chars: 30}}
"""
THINGS = ["tables", "arrays", "sockets", "colours", "clocks", "queues", "trees", "graphs", "files", "threads"]
VERBS = ["reads", "joins", "sorts", "splits", "counts", "draws", "merges", "locks", "prints", "sends"]


def texts(last: int = 100) -> list[dict[str, str]]:
    return [
        {
            "text": f"This function {VERBS[n % 10]} {THINGS[n // 10]} and gives what caller number {n} asked it for.",
            "label": "mine" if n % 2 else "yours",
        }
        for n in range(last)
    ]


def feedback(home: Path, *words: str) -> list[str]:
    """Accept corrections as training data; their ids."""
    rows = []
    for word in words:
        text = f"People would like to know how the {word} of a very particular thing may be found quickly."
        rows.append({"id": text_hash(text), "text": text, "label": "mine", "uri": f"reply://{word}"})
    path = home / "feedback" / "accepted.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
    return [row["id"] for row in rows]


def go(home: Path, recipe: Path, select: str | None = "+balanced_documents", **options):
    """A run of the real graph in this process."""
    from llm_assets.environment import enter
    from llm_assets.runs import run_graph

    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"LLM_ASSETS_HOME": str(home), "LLM_ASSETS_RECIPE": str(recipe)}.items():
            patch.setenv(name, value)
        for name in ("LLM_ASSETS_SET", "DAGSTER_HOME"):
            patch.setenv(name, "[]")
        enter(str(recipe))
        outcome = run_graph(select, **options)
    assert outcome.success, outcome.problems
    return outcome


class Small:
    """home, store, the recipe's file, and the ids of the feedback rows of the second release."""

    def __init__(self, folder: Path) -> None:
        self.home, self.recipe = folder / "home", folder / "small.yaml"
        self.store = open_store(self.home)

    def enter(self) -> None:
        from llm_assets.environment import enter

        enter(str(self.recipe))
        import llm_assets.definitions  # noqa: F401  (declares the nodes)

    @property
    def environment(self) -> dict[str, str]:
        return {"LLM_ASSETS_HOME": str(self.home), "LLM_ASSETS_RECIPE": str(self.recipe)}


def write_version(
    store, folder: Path, asset: str, *, rows=None, files=None, inputs=(), branch="run/by-hand", **metadata
):
    """A version with a document table (id -> split, or -> a whole row) or other files, as a run would write it."""
    import pyarrow as pa

    from llm_assets.artifacts import DOCUMENTS, document_schema, write_table

    out = folder / "out"
    out.mkdir()
    if rows is not None:
        given = [{"id": id_, **(row if isinstance(row, dict) else {"split": row})} for id_, row in rows.items()]
        defaults = {"source": "file:mine", "uri": "file:mine#1", "licence": "CC0-1.0", "parents": [], "steps": []}
        whole = [
            {**defaults, "text": f"text of {row['id']}", "content_hash": text_hash(f"text of {row['id']}")} | row
            for row in given
        ]
        write_table(pa.Table.from_pylist(whole, schema=document_schema()), out / DOCUMENTS)
    for name, content in (files or {}).items():
        (out / name).write_bytes(content)
    store.open_branch(branch)
    sizes = {path.name: path.stat().st_size for path in out.iterdir()}
    version = store.write(
        branch,
        asset,
        out,
        fingerprint=f"{asset}-{text_hash(repr((rows, files, [v.data_version for v in inputs])))}",
        inputs={version.asset: version for version in inputs},
        metadata={"files": sizes, "summary": {"metrics": {}}, "work_seconds": 0.0} | metadata,
    )
    shutil.rmtree(out, ignore_errors=True)
    return version
