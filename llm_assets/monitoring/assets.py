"""Dagster nodes of the monitoring stage."""

from __future__ import annotations

from pathlib import Path

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset
from llm_assets.recipe import Recipe


def traffic_state(recipe: Recipe, home: Path) -> str:
    """Traffic and feedback are state outside the graph."""
    from llm_assets.serving.traffic import log_state

    return log_state(home)


@artifact_asset(
    group="monitoring",
    inputs=("deployed_endpoint", "release_candidate", "cleaned_documents"),
    config=("monitoring", "seed"),
    kinds={"prometheus", "report"},
    code_version="1",
    seconds=6,
    external_state=traffic_state,
)
def monitoring_report(job: Job) -> Summary:
    """How the champion does in a window of live traffic: accuracy, latency, throughput, error rate, drift.

    Canary probes with exact answers go through the endpoint's HTTP interface; people's feedback gives the
    accuracy on real requests; drift is measured against the training texts, beside what chance alone would
    give. `degraded` says whether a rule of `monitoring.rules` asks for a retrain (the degradation sensor
    reads it), `reasons` which. Only replies of the package being served count. `report.html` shows all of
    it on one page.
    """
    from llm_assets.errors import UserError
    from llm_assets.monitoring.measure import measure
    from llm_assets.monitoring.report import write_report
    from resources.endpoint import endpoint_of

    endpoint = endpoint_of(job.recipe, job.home)
    pointer = endpoint.current()
    if pointer is None:
        raise UserError("nothing is deployed that could be monitored. Materialize deployed_endpoint first.")
    state = traffic_state(job.recipe, job.home)
    deployed = job.versions["deployed_endpoint"].summary.metrics
    accuracy = deployed.get("accuracy" if deployed.get("decision") == "deploy" else "champion_accuracy")
    if deployed.get("digest") != pointer["digest"]:
        accuracy = None  # of another package than the one that is watched
    measured = measure(
        job.home,
        endpoint,
        pointer,
        job.inputs["cleaned_documents"],
        job.recipe.monitoring,
        seed=job.recipe.seed,
        fallback_baseline=accuracy if isinstance(accuracy, float) else None,
        progress=job.progress,
    )
    return write_report(measured, job.recipe.monitoring, job.out, state)
