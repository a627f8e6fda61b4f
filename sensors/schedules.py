"""When the live endpoint is measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dagster as dg

from llm_assets.publish import IN_FLIGHT

if TYPE_CHECKING:
    from llm_assets.recipe import Recipe


def monitor_schedule(recipe: Recipe, job_name: str) -> dg.ScheduleDefinition:
    """Materializes the monitoring report by the recipe's `monitoring.cron`."""
    settings = recipe.monitoring

    @dg.schedule(
        name="monitor_schedule",
        job_name=job_name,
        cron_schedule=settings.cron,
        default_status=dg.DefaultScheduleStatus.RUNNING if settings.schedule else dg.DefaultScheduleStatus.STOPPED,
        description="Measures the live endpoint; no tick while the last one's run is not over.",
    )
    def monitor_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        from llm_assets.publish import close_dead_runs

        close_dead_runs(context.instance)  # a report whose process was killed would hold back every later one
        waiting = context.instance.get_runs(dg.RunsFilter(job_name=job_name, statuses=IN_FLIGHT), limit=1)
        if waiting:
            return dg.SkipReason(f"run {waiting[0].run_id[:8]} of {job_name} is not over yet")
        return dg.RunRequest()

    return monitor_schedule
