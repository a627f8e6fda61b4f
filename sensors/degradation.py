"""Starts a retrain when the latest monitoring report says that the champion has degraded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from llm_assets.publish import IN_FLIGHT

if TYPE_CHECKING:
    from llm_assets.monitoring.decision import Observation
    from llm_assets.recipe import Recipe

REPORT = "monitoring_report"
RETRAIN_TAG = "llm-assets/retrain"


def degradation_sensor(recipe: Recipe, job_name: str) -> dg.SensorDefinition:
    """The sensor for the job `job_name`; its rules are the recipe's `monitoring.retrain`."""
    settings = recipe.monitoring.retrain

    @dg.sensor(
        name="degradation",
        job_name=job_name,
        minimum_interval_seconds=settings.interval_seconds,
        default_status=dg.DefaultSensorStatus.RUNNING if settings.sensor else dg.DefaultSensorStatus.STOPPED,
        description=(
            "Starts a retrain when the monitoring report is degraded: one run for one degradation, none while "
            "one is in flight or in cooldown, none beyond the daily budget, none without new corrections to "
            "learn from."
        ),
    )
    def degradation(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        from datetime import UTC, datetime

        from llm_assets.monitoring.decision import Memory, decide, remember, run_key
        from llm_assets.publish import close_dead_runs
        from llm_assets.recipe import current_recipe, home_folder
        from llm_assets.serving.feedback import accept_feedback, accept_votes, pending_feedback
        from resources.endpoint import endpoint_of

        recipe, home = current_recipe(), home_folder()
        seen = latest_observation(context.instance)
        if seen is None or not seen.degraded:  # by far the most looks: the traffic log stays unread
            why = "no monitoring report yet" if seen is None else f"{seen.champion[:12]} is as good as it should be"
            return dg.SensorResult(skip_reason=why, cursor=context.cursor)
        close_dead_runs(context.instance)  # a retrain that was killed is not in flight
        memory, now = Memory.load(context.cursor), datetime.now(UTC)
        current = endpoint_of(recipe, home).current()
        decision = decide(
            seen,
            memory,
            recipe.monitoring.retrain,
            now=now,
            serving=current["digest"] if current else None,
            in_flight=runs_in_flight(context.instance, job_name),
            feedback=len(pending_feedback(home)[0]),
        )
        if not decision.retrain:
            return dg.SensorResult(skip_reason=decision.why, cursor=context.cursor)
        # Accepting twice changes nothing, and neither does the same run key: a daemon killed here repeats
        # safely.
        accepted = accept_feedback(home)
        accept_votes(home)
        request = dg.RunRequest(
            run_key=run_key(seen, accepted.digest),
            tags={
                RETRAIN_TAG: "degradation",
                "llm-assets/reason": ", ".join(seen.reasons),
                "llm-assets/champion": seen.champion,
            },
        )
        context.log.info(f"{decision.why}; {accepted.count} rows of feedback are training data")
        return dg.SensorResult(run_requests=[request], cursor=remember(memory, now, accepted.count).dump())

    return degradation


def latest_observation(instance: dg.DagsterInstance) -> Observation | None:
    """What the latest materialization of the report says; None when there is none."""
    from llm_assets.monitoring.decision import Observation

    event = instance.get_latest_materialization_event(dg.AssetKey(REPORT))
    if event is None or event.asset_materialization is None:
        return None
    metadata: Mapping[str, Any] = event.asset_materialization.metadata
    values = {name: metadata[name].value for name in ("degraded", "reasons", "champion") if name in metadata}
    if len(values) < 3:
        return None
    reasons = tuple(part for part in str(values["reasons"]).split(", ") if part)
    return Observation(bool(values["degraded"]), reasons, str(values["champion"]))


def runs_in_flight(instance: dg.DagsterInstance, job_name: str) -> list[str]:
    """Ids of runs of the retrain job, whoever started them, and of runs that carry the sensor's tag."""
    filters = (
        dg.RunsFilter(job_name=job_name, statuses=IN_FLIGHT),
        dg.RunsFilter(tags={RETRAIN_TAG: "degradation"}, statuses=IN_FLIGHT),
    )
    return sorted({run.run_id for one in filters for run in instance.get_runs(one)})
