"""Moving `main`: a run's branch is published when the run has succeeded, and never before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dagster as dg

from llm_assets.materialize import PROCESS_TAG, process_alive, run_branch
from resources.store import Release, Version, VersionStore

RELEASE_TAG = "llm-assets/release"  # on a run: what it was published as
IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def publish_run(run: dg.DagsterRun, store: VersionStore) -> Release | None:
    """Publish a successful run's branch; the release, or None if it changed nothing."""
    if run.status != dg.DagsterRunStatus.SUCCESS:
        raise ValueError(f"run {run.run_id} is {run.status.value}: only a successful run is published")
    branch = run_branch(run)
    if not store.heads(branch):
        return None
    return store.publish(branch, f"{branch}\n\nrun: {run.run_id}\njob: {run.job_name}")


def ungated(instance: dg.DagsterInstance, run: dg.DagsterRun) -> list[str]:
    """The blocking gates that have not passed on what a run, or the runs it goes on from, has made.

    A gate that failed fails its run; one that was deselected when the run was started says nothing at all.
    """
    from llm_assets.definitions import defs

    group = instance.get_run_group(run.run_id)
    entries = [entry for one in (group[1] if group else [run]) for entry in instance.all_logs(one.run_id)]
    made: set[dg.AssetKey] = set()
    passed: set[dg.AssetCheckKey] = set()
    for entry in sorted(entries, key=lambda entry: entry.timestamp):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
            made.add(event.asset_key)
            passed = {key for key in passed if key.asset_key != event.asset_key}
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if evaluation.passed:
                passed.add(evaluation.asset_check_key)
    graph = defs.resolve_asset_graph()
    blocking = {key for key in graph.get_check_keys_for_assets(made) if graph.get(key).blocking}
    return sorted(f"{key.asset_key.to_user_string()}: {key.name}" for key in blocking - passed)


def report_versions(instance: dg.DagsterInstance, versions: Mapping[str, Version], why: str) -> None:
    """Tell Dagster which versions `main` holds, where no run has just made them; each asset's page then says so.

    Verdicts are not repeated: what a sensor reads of a report, it reads from the run that made it.
    """
    from dagster._core.definitions.data_version import DATA_VERSION_TAG, get_input_data_version_tag

    for asset, version in versions.items():
        inputs = {
            get_input_data_version_tag(dg.AssetKey(name)): origin["data_version"]
            for name, origin in version.inputs.items()
        }
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset,
                description=why,
                metadata={"version": version.data_version, "commit": version.commit},
                tags={DATA_VERSION_TAG: version.data_version, **inputs},
            )
        )


def runs_in_flight(instance: dg.DagsterInstance) -> Sequence[dg.DagsterRun]:
    """The runs that are not over."""
    return instance.get_runs(dg.RunsFilter(statuses=IN_FLIGHT))


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs as failed whose process has died (a kill leaves them 'started' for ever); their ids."""
    closed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        mark = run.tags.get(PROCESS_TAG)
        if mark and not process_alive(mark):
            instance.report_run_failed(run, message="The process of this run has died.")
            closed.append(run.run_id)
    return closed
