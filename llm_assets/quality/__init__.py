"""Great Expectations suites as Dagster asset checks: what a stage declares (`suite`) and how it is run (`gate`)."""

from llm_assets.quality.suite import METRICS, Expect, Suite, previous_metric, recipe_value

__all__ = ["METRICS", "Expect", "Suite", "previous_metric", "recipe_value"]
