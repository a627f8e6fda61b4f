"""Making a version again: in isolation, from what was recorded with it."""

from __future__ import annotations

import json

import pytest
from small_world import go

from llm_assets.errors import UserError
from llm_assets.versions.reproduce import reproduce


def everything(home):
    return sorted(str(path.relative_to(home)) for path in home.rglob("*") if "checkouts" not in path.parts)


def test_a_version_and_all_upstream_come_out_equal_in_isolation(copy):
    """Also after the feedback it was made with has changed: that is taken from the version itself."""
    version = copy.store.heads("v2")["augmented_documents"]
    (copy.home / "feedback" / "accepted.jsonl").unlink()
    before = everything(copy.home)
    done = reproduce(copy.store, copy.home, version)
    assert not done.problem
    assert [item.recorded.asset for item in done.compared] == [
        "raw_documents",
        "cleaned_documents",
        "augmented_documents",
    ]
    assert done.same, [(item.recorded.asset, item.files, item.differs) for item in done.compared]
    assert everything(copy.home) == before, "nothing is left, and nothing else was touched"


def test_what_differs_is_named_and_what_depends_on_it(copy):
    version = copy.store.heads("v1")["cleaned_documents"]  # its texts have changed since
    done = reproduce(copy.store, copy.home, version)
    raw, cleaned = done.compared
    assert not done.same and not raw.same and "external state" in raw.differs
    assert "documents.parquet" in raw.files
    assert cleaned.inputs == ["raw_documents"]
    only = reproduce(copy.store, copy.home, version, only=True)
    assert [item.recorded.asset for item in only.compared] == ["cleaned_documents"] and only.same


def test_a_computation_that_fails_says_why(copy):
    version = copy.store.heads("v1")["cleaned_documents"]
    recipe = json.loads(json.dumps(version.metadata["recipe"]))
    recipe["data"]["sources"][1]["paths"] = ["/nonexistent/file.jsonl"]
    import dataclasses

    broken = dataclasses.replace(
        copy.store.heads("v1")["raw_documents"], metadata={**version.metadata, "recipe": recipe}
    )
    done = reproduce(copy.store, copy.home, broken)
    assert "/nonexistent/file.jsonl" in done.problem and done.compared[0].made is None


def test_what_is_no_computation_is_refused(store, tmp_path):
    from small_world import write_version

    import llm_assets.definitions  # noqa: F401  (declares the nodes)

    package = write_version(store, tmp_path, "release_candidate", files={"model.onnx": b"o"})
    deployed = write_version(store, tmp_path, "deployed_endpoint", files={"deployment.json": b"{}"}, inputs=[package])
    with pytest.raises(UserError, match=f"release_candidate@{package.data_version[:12]}"):
        reproduce(store, tmp_path, deployed)
    with pytest.raises(UserError, match="is not one of this code's"):
        reproduce(store, tmp_path, package)


@pytest.mark.slow
def test_the_released_demo_model_is_reproduced(tmp_path):
    """Every data artifact and every model of the demo, bit for bit (about ten minutes)."""
    from llm_assets.recipe import RECIPES
    from resources.workspace import open_store

    home = tmp_path / "home"
    go(home, RECIPES / "demo.yaml", "+key:release_candidate")
    store = open_store(home)
    done = reproduce(store, home, store.heads("main")["release_candidate"])
    assert done.same, [(item.recorded.asset, list(item.files), item.inputs) for item in done.compared if not item.same]
    assert {"balanced_documents", "pretrained_model", "aligned_model", "quantized_model"} <= {
        item.recorded.asset for item in done.compared
    }
