"""One graph, run through Dagster on each store: equal data versions, and nothing computed twice on either."""

from __future__ import annotations

import json

import dagster as dg
import pytest
from lakefs_emulator import KEY_ID, SECRET, Emulator

from llm_assets import graph, materialize
from llm_assets.artifacts import Summary
from llm_assets.publish import publish_run
from resources.store import MAIN, lineage
from resources.workspace import RecipeResource, StoreResource, open_store


@pytest.fixture
def definitions(monkeypatch):
    """Two sources and a model of both; each computation adds a line to `computed`."""
    monkeypatch.setattr(graph, "NODES", {})
    monkeypatch.setattr(materialize, "NODES", graph.NODES)

    def asset(compute, inputs=()):
        return materialize.artifact_asset(
            group="data", config=("seed",), kinds={"text"}, code_version="1", seconds=1, inputs=inputs
        )(compute)

    def count(job, name):
        with (job.home / "computed").open("a") as file:
            file.write(f"{name}\n")

    def left(job) -> Summary:
        """One source."""
        count(job, "left")
        (job.out / "nested").mkdir()
        (job.out / "nested" / "text.txt").write_text("left")
        return Summary(metrics={"rows": 1})

    def right(job) -> Summary:
        """Another."""
        count(job, "right")
        (job.out / "text.bin").write_bytes(bytes(range(256)) * 100)
        return Summary(metrics={"rows": 2})

    def model(job) -> Summary:
        """Of both."""
        count(job, "model")
        text = (job.inputs["left"] / "nested" / "text.txt").read_bytes()
        (job.out / "model.bin").write_bytes(text + (job.inputs["right"] / "text.bin").read_bytes())
        return Summary(metrics={"accuracy": 0.5})

    return dg.Definitions(
        assets=[asset(left), asset(right), asset(model, ("left", "right"))],
        resources={"recipe": RecipeResource(), "store": StoreResource()},
        executor=dg.in_process_executor,
    )


@pytest.fixture
def emulator(tmp_path, monkeypatch):
    (tmp_path / "server").mkdir()
    emulator = Emulator(tmp_path / "server")
    monkeypatch.setenv("LAKEFS_ENDPOINT", emulator.endpoint)
    monkeypatch.setenv("LAKEFS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("LAKEFS_SECRET_ACCESS_KEY", SECRET)
    yield emulator
    emulator.stop()


def run(definitions, store):
    with dg.DagsterInstance.ephemeral() as instance:
        result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        publish_run(instance.get_run_by_id(result.run_id), store)
    return {
        event.step_key: event.materialization.tags["dagster/data_version"]
        for event in result.get_asset_materialization_events()
    }


def test_the_same_graph_has_the_same_data_versions_on_every_store(definitions, emulator, tmp_path, monkeypatch):
    versions, fingerprints = {}, {}
    for kind in ("dvc", "lakefs"):
        home = tmp_path / kind
        home.mkdir()
        monkeypatch.setenv("LLM_ASSETS_HOME", str(home))
        monkeypatch.setenv("LLM_ASSETS_SET", json.dumps([f"store={kind}"]))
        store = open_store(home)
        versions[kind] = run(definitions, store)
        assert run(definitions, store) == versions[kind]
        assert sorted((home / "computed").read_text().split()) == ["left", "model", "right"], "computed once"
        heads = store.heads(MAIN)
        assert {name: version.data_version for name, version in heads.items()} == versions[kind]
        assert set(lineage(store, heads["model"])) == {"left", "right", "model"}
        assert [release.name for release in store.releases()] == ["v1"]
        fingerprints[kind] = {name: version.fingerprint for name, version in heads.items()}
    assert versions["dvc"] == versions["lakefs"] and len(versions["dvc"]) == 3
    assert fingerprints["dvc"] == fingerprints["lakefs"], "where versions lie is no part of what they are made from"
