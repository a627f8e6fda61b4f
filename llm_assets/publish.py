"""Moving `main`: a run's branch is published when the run has succeeded, and never before."""

from __future__ import annotations

import dagster as dg

from llm_assets.materialize import PROCESS_TAG, process_alive, run_branch
from resources.store import Release, VersionStore


def publish_run(run: dg.DagsterRun, store: VersionStore) -> Release | None:
    """Publish a successful run's branch; the release, or None if it changed nothing."""
    if run.status != dg.DagsterRunStatus.SUCCESS:
        raise ValueError(f"run {run.run_id} is {run.status.value}: only a successful run is published")
    branch = run_branch(run)
    if not store.heads(branch):
        return None
    return store.publish(branch, f"{branch}\n\nrun: {run.run_id}\njob: {run.job_name}")


def close_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs as failed whose process has died (a kill leaves them 'started' for ever); their ids."""
    closed = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        mark = run.tags.get(PROCESS_TAG)
        if mark and not process_alive(mark):
            instance.report_run_failed(run, message="The process of this run has died.")
            closed.append(run.run_id)
    return closed
