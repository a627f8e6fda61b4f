"""The whole graph, put together: assets, gates, jobs, resources, sensors. The only module that knows them all."""

from __future__ import annotations

from collections.abc import Sequence

import dagster as dg

from llm_assets.alignment import assets as alignment
from llm_assets.alignment import expectations as alignment_gates
from llm_assets.compression import assets as compression
from llm_assets.compression import expectations as compression_gates
from llm_assets.data import assets as data
from llm_assets.data import expectations as data_gates
from llm_assets.evaluation import assets as evaluation
from llm_assets.evaluation import expectations as evaluation_gates
from llm_assets.models import assets as models
from llm_assets.models import expectations as models_gates
from llm_assets.monitoring import assets as monitoring
from llm_assets.monitoring import expectations as monitoring_gates
from llm_assets.prompts import assets as prompts
from llm_assets.prompts import expectations as prompts_gates
from llm_assets.quality.gate import gates
from llm_assets.quality.suite import Suite
from llm_assets.recipe import current_recipe
from llm_assets.serving import assets as serving
from llm_assets.serving import expectations as serving_gates
from llm_assets.training import assets as training
from llm_assets.training import expectations as training_gates
from resources.workspace import RecipeResource, StoreResource
from sensors.degradation import degradation_sensor
from sensors.publish import publish_sensor
from sensors.schedules import monitor_schedule

STAGES = [data, prompts, models, training, alignment, compression, evaluation, serving, monitoring]
GATES = [
    data_gates,
    prompts_gates,
    models_gates,
    training_gates,
    alignment_gates,
    compression_gates,
    evaluation_gates,
    serving_gates,
    monitoring_gates,
]


def build() -> dg.Definitions:
    recipe = current_recipe()
    suites: Sequence[Suite] = [suite for module in GATES for suite in module.SUITES]
    assets = dg.load_assets_from_modules(STAGES)
    factory = dg.define_asset_job("factory", description="Materialize the whole graph; what is unchanged is reused.")
    retrain = dg.define_asset_job(
        "retrain",
        description="The whole graph again, with the feedback that has been accepted as training data.",
    )
    monitor = dg.define_asset_job(
        "monitor",
        selection=dg.AssetSelection.assets("monitoring_report"),
        description="Measure the live endpoint.",
    )
    return dg.Definitions(
        assets=assets,
        asset_checks=gates(suites),
        jobs=[factory, retrain, monitor],
        schedules=[monitor_schedule(recipe, "monitor")],
        sensors=[degradation_sensor(recipe, "retrain"), publish_sensor()],
        resources={"recipe": RecipeResource(), "store": StoreResource()},
        # One process a run: torch and Great Expectations take seconds to import, and two cores have no room for more.
        executor=dg.in_process_executor,
    )


defs = build()
