"""What is published when: whole and part runs, a failed one and its re-execution, on a real Dagster instance."""

from __future__ import annotations

import json
import time

import dagster as dg
import pytest
from small_world import feedback

from llm_assets.artifacts import DOCUMENTS, read_table
from llm_assets.publish import RELEASE_TAG
from llm_assets.versions.history import changes
from llm_assets.versions.retention import collect
from resources.store import MAIN
from sensors.publish import publish_sensor

DATA = ["raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents"]
BROKEN = json.dumps(["data.clean.min_chars=19999"])  # no document is so long: cleaning fails


def factory():
    from llm_assets.definitions import defs

    return defs.resolve_job_def("factory")


@pytest.fixture
def instance(copy):
    copy.enter()
    with dg.DagsterInstance.get() as made:
        yield made


def execute(instance, assets=(), **options):
    """A run as the UI or a sensor starts it; what happened, and its record."""
    with dg.execute_job(
        dg.reconstructable(factory),
        instance,
        asset_selection=[dg.AssetKey(name) for name in assets] or None,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        **options,
    ) as result:
        return result.success, instance.get_run_by_id(result.run_id)


def tell_the_sensor(instance, run):
    """The publish sensor's evaluation for a run that succeeded."""
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
    context = dg.build_run_status_sensor_context(
        sensor_name="publish", dagster_event=event, dagster_instance=instance, dagster_run=run
    )
    return publish_sensor()(context)


def contents(store, ref):
    return {name: version.data_version for name, version in store.heads(ref).items()}


def test_a_reexecution_from_failure_goes_on_with_the_branch_and_publishes_all_of_it(copy, instance, monkeypatch):
    feedback(copy.home, "depth")
    before = contents(copy.store, MAIN)
    monkeypatch.setenv("LLM_ASSETS_SET", BROKEN)
    success, failed = execute(instance, DATA)
    assert not success and contents(copy.store, MAIN) == before
    branch = f"run/{failed.run_id}"
    assert copy.store.heads(branch)["raw_documents"].data_version != before["raw_documents"], "kept to be looked at"

    monkeypatch.setenv("LLM_ASSETS_SET", "[]")
    success, again = execute(instance, reexecution_options=dg.ReexecutionOptions.from_failure(failed.run_id, instance))
    assert success and again.root_run_id == failed.run_id
    assert f"run/{again.run_id}" not in {item.name for item in copy.store.branches()}
    tell_the_sensor(instance, again)
    (release, *_) = copy.store.releases()
    assert release.branch == branch and release.name == "v4"
    assert instance.get_run_by_id(again.run_id).tags[RELEASE_TAG] == "v4"
    changed = {change.asset for change in changes(copy.store.heads("v3"), copy.store.heads(MAIN))}
    assert changed == set(DATA), "the step that had not failed is published with the others"
    assert contents(copy.store, MAIN) == contents(copy.store, branch)


def test_part_of_the_graph_and_two_runs_one_after_the_other(copy, instance, monkeypatch):
    feedback(copy.home, "depth")
    before = contents(copy.store, MAIN)
    success, first = execute(instance, ["raw_documents"])
    monkeypatch.setenv("LLM_ASSETS_SET", json.dumps(["data.balance.power=0.5"]))
    also, second = execute(instance, ["balanced_documents"])  # begun before the first is published
    assert success and also
    tell_the_sensor(instance, second)
    tell_the_sensor(instance, first)
    after = contents(copy.store, MAIN)
    assert {name for name in before if before[name] != after[name]} == {"raw_documents", "balanced_documents"}
    assert [release.branch for release in copy.store.releases()][:2] == [f"run/{first.run_id}", f"run/{second.run_id}"]
    balanced = copy.store.heads(MAIN)["balanced_documents"]
    assert balanced.inputs["augmented_documents"]["data_version"] == before["augmented_documents"]
    assert "nothing new" in str(tell_the_sensor(instance, first)), "told twice, published once"


def test_a_run_without_its_gates_is_not_published(copy, instance):
    feedback(copy.home, "depth")
    before = contents(copy.store, MAIN)
    from llm_assets.definitions import defs

    assets = [asset for asset in defs.assets if isinstance(asset, dg.AssetsDefinition)]
    selection = dg.AssetSelection.assets("raw_documents")
    result = dg.materialize(assets, selection=selection, resources=defs.resources, instance=instance)
    run = instance.get_run_by_id(result.run_id)
    assert result.success and run.status == dg.DagsterRunStatus.SUCCESS
    said = str(tell_the_sensor(instance, run))
    assert "not published" in said and "raw_documents: raw_ids_are_unique" in said
    assert contents(copy.store, MAIN) == before


def test_a_failed_run_keeps_its_branch_for_some_days(copy, instance, monkeypatch):
    feedback(copy.home, "depth")
    monkeypatch.setenv("LLM_ASSETS_SET", BROKEN)
    success, failed = execute(instance, DATA)
    branch = f"run/{failed.run_id}"
    assert not success
    planned = collect(copy.store, dry_run=True)
    assert branch not in planned.branches and len(planned.branches) == 3, "branches of published runs go"
    assert branch in {item.name for item in copy.store.branches()}, "a dry run removes nothing"
    assert branch not in collect(copy.store, in_flight=[branch], keep_days=0).branches, "a run in flight is kept"
    raw = copy.store.heads(branch)["raw_documents"]
    assert read_table(copy.store.checkout(raw) / DOCUMENTS).num_rows == 341
    time.sleep(1.1)  # the age of a branch is in whole seconds
    done = collect(copy.store, keep_days=0)
    assert branch in done.branches and raw.data_version in {version.data_version for version in done.versions}
    for release in copy.store.releases():
        for version in copy.store.heads(release.name).values():
            copy.store.checkout(version)
