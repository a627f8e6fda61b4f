"""The one IO path, driven through Dagster with a small graph of its own."""

from __future__ import annotations

import errno

import dagster as dg
import pytest

from llm_assets import graph, materialize
from llm_assets.artifacts import SAMPLES, Summary, read_json
from llm_assets.errors import UserError
from llm_assets.publish import close_dead_runs, publish_run
from llm_assets.quality import Expect, Suite, previous_metric, recipe_value
from llm_assets.quality.gate import gates
from llm_assets.runs import problems_of
from resources.store import MAIN
from resources.workspace import RecipeResource, StoreResource, open_store


class World:
    """What the two assets below are made of, and how often they were."""

    text = "one"
    score = 0.9
    error: Exception | None = None
    computed: list[str]


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_ASSETS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(graph, "NODES", {})
    monkeypatch.setattr(materialize, "NODES", graph.NODES)
    world = World()
    world.computed = []

    @materialize.artifact_asset(
        group="data",
        config=("seed",),
        kinds={"text"},
        code_version="1",
        seconds=1,
        external_state=lambda recipe, home: world.text,
    )
    def source(job) -> Summary:
        """The source."""
        world.computed.append("source")
        (job.out / "half.txt").write_text("half")
        if world.error:
            raise world.error
        (job.out / "text.txt").write_text(world.text[:3])
        return Summary(metrics={"rows": 1}, samples=[{"text": world.text[:3]}])

    @materialize.artifact_asset(
        group="models", config=(), kinds={"text"}, code_version="1", seconds=1, inputs=("source",)
    )
    def model(job) -> Summary:
        """The model."""
        world.computed.append("model")
        text = (job.inputs["source"] / "text.txt").read_text()
        (job.out / "model.txt").write_text(text * 2)
        return Summary(metrics={"accuracy": world.score}, curves={"loss": [(0, 2.0), (1, 1.0)]})

    suite = Suite(
        "model",
        "metrics",
        [
            Expect("accuracy_floor", "ExpectColumnMinToBeBetween", column="accuracy", min_value=0.5),
            Expect(
                "no_regression",
                "ExpectColumnMinToBeBetween",
                column="accuracy",
                min_value=previous_metric("accuracy", minus=0.1),
            ),
            Expect(
                "seed_is_small",
                "ExpectColumnMaxToBeBetween",
                severity="warning",
                column="accuracy",
                max_value=recipe_value("seed"),
            ),
        ],
    )
    world.defs = dg.Definitions(
        assets=[source, model],
        asset_checks=gates([suite]),
        resources={"recipe": RecipeResource(), "store": StoreResource()},
        executor=dg.in_process_executor,
    )
    world.store = open_store(tmp_path / "home")
    world.home = tmp_path / "home"
    return world


def run(world, publish=True, tags=None):
    with dg.DagsterInstance.ephemeral() as instance:
        job = world.defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False, tags=tags)
        record = instance.get_run_by_id(result.run_id)
        if result.success and publish:
            publish_run(record, world.store)
        return result


def test_a_run_is_computed_once_and_published(world):
    assert run(world).success
    assert world.computed == ["source", "model"]
    heads = world.store.heads(MAIN)
    assert heads["model"].inputs["source"]["data_version"] == heads["source"].data_version
    assert run(world).success
    assert world.computed == ["source", "model"], "nothing changed, nothing is computed"


def test_dagster_sees_the_content_hash_as_data_version(world):
    result = run(world)
    event = next(e for e in result.get_asset_materialization_events() if e.step_key == "model")
    materialization = event.materialization
    assert materialization.tags["dagster/data_version"] == world.store.heads(MAIN)["model"].data_version
    assert "data:image/png" in materialization.metadata["loss"].value
    assert materialization.metadata["accuracy"].value == 0.9


def test_what_is_recorded_is_enough_to_make_it_again_and_quotes_no_row(world):
    result = run(world)
    version = world.store.heads(MAIN)["source"]
    assert version.metadata["recipe"]["training"]["steps"] > 0
    assert version.metadata["environment"]["packages"]["dagster"] == dg.__version__
    assert version.metadata["external"] == "one" and version.metadata["run"] == result.run_id
    assert version.metadata["files"].keys() == {"half.txt", "samples.json", "text.txt"}
    assert version.summary.samples == []
    assert read_json(world.store.checkout(version) / SAMPLES) == {"columns": ["text"], "rows": [["one"]]}
    shown = {e.step_key: e.materialization.metadata for e in result.get_asset_materialization_events()}
    assert "one" in shown["source"]["samples"].value
    assert version.data_version[:12] in shown["model"]["lineage"].value
    assert shown["model"]["branch"].value == f"run/{result.run_id}"


def test_a_forced_run_computes_what_it_would_find(world):
    run(world)
    before = world.store.heads(MAIN)
    assert run(world, tags={materialize.FORCE_TAG: "yes"}).success
    assert world.computed == ["source", "model"] * 2
    after = world.store.heads(MAIN)
    assert {name: v.data_version for name, v in after.items()} == {name: v.data_version for name, v in before.items()}


def test_a_change_that_leaves_the_content_equal_stops_there(world):
    run(world)
    world.text = "one more"  # the state outside changed, the file that is written did not
    run(world)
    assert world.computed == ["source", "model", "source"]


def test_stale_names_what_a_change_reaches(world):
    from llm_assets.recipe import current_recipe

    look = lambda: graph.stale(current_recipe(), world.home, world.store, graph.NODES)  # noqa: E731
    assert look() == ["source", "model"]
    run(world)
    assert look() == []
    world.text = "two"
    assert look() == ["source", "model"]


def test_a_failed_gate_keeps_main_and_says_why(world):
    run(world)
    before = world.store.heads(MAIN)
    world.text, world.score = "two", 0.7
    result = run(world)
    assert not result.success
    assert world.store.heads(MAIN) == before
    (problem,) = problems_of(result.all_events)
    assert "model: gate no_regression" in problem and "0.7" in problem


def test_an_error_for_people_has_no_trace_and_leaves_nothing(world):
    world.error = UserError("the source 'x' is missing: give its path")
    result = run(world)
    assert problems_of(result.all_events) == ["source: the source 'x' is missing: give its path"]
    assert world.store.heads(MAIN) == {}
    assert not any((world.home / "work").iterdir())
    world.error = None
    assert run(world).success


def test_a_full_disk_is_named(world):
    world.error = OSError(errno.ENOSPC, "No space left on device")
    (problem,) = problems_of(run(world).all_events)
    assert "disk" in problem and "full" in problem and str(world.home) in problem


def test_an_unpublished_input_is_asked_for(world):
    with dg.DagsterInstance.ephemeral() as instance:
        job = world.defs.resolve_implicit_global_asset_job_def()
        result = job.execute_in_process(instance=instance, raise_on_error=False, asset_selection=[dg.AssetKey("model")])
    assert "model needs source" in problems_of(result.all_events)[0]


def test_a_run_whose_process_died_is_closed(world):
    with dg.DagsterInstance.ephemeral() as instance:
        job = world.defs.resolve_implicit_global_asset_job_def()
        dead = instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, tags={materialize.PROCESS_TAG: "999999-1"}
        )
        alive = instance.create_run_for_job(
            job,
            status=dg.DagsterRunStatus.STARTED,
            tags={materialize.PROCESS_TAG: materialize.process_mark()},
        )
        assert close_dead_runs(instance) == [dead.run_id]
        assert instance.get_run_by_id(dead.run_id).status == dg.DagsterRunStatus.FAILURE
        assert instance.get_run_by_id(alive.run_id).status == dg.DagsterRunStatus.STARTED
