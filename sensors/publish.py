"""Publishes the branch of every run that succeeds, whoever started it."""

from __future__ import annotations

import dagster as dg


def publish_sensor() -> dg.SensorDefinition:
    @dg.run_status_sensor(
        name="publish",
        run_status=dg.DagsterRunStatus.SUCCESS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        minimum_interval_seconds=5,
        description="Moves `main` to what a run made, all of it at once, when every gate of the run has passed.",
    )
    def publish(context: dg.RunStatusSensorContext) -> dg.SkipReason:
        from llm_assets.publish import RELEASE_TAG, publish_run, ungated
        from llm_assets.recipe import home_folder
        from resources.workspace import open_store

        missing = ungated(context.instance, context.dagster_run)
        if missing:
            return dg.SkipReason(
                f"not published: gates that did not run, or did not pass: {', '.join(missing)}. Materialize the assets "
                "with their checks."
            )
        release = publish_run(context.dagster_run, open_store(home_folder()))
        if release is not None:
            context.instance.add_run_tags(context.dagster_run.run_id, {RELEASE_TAG: release.name})
        return dg.SkipReason(f"published as {release.name}" if release else "nothing new to publish")

    return publish
