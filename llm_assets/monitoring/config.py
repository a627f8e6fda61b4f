"""The recipe's `monitoring` section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from llm_assets.config import Section


class Rule(Section):
    """When a metric of the monitoring report counts as degraded.

    It fires when the metric is below `min`, above `max`, or below its baseline (what the evaluation stage
    measured of this package) by more than `below_baseline`, on at least `min_samples` samples. Only a rule
    whose `action` is "retrain" makes the report degraded: a new model cannot mend a slow host, and drift
    alone proves no harm.
    """

    metric: str
    below_baseline: float | None = Field(None, ge=0)
    min: float | None = None
    max: float | None = None
    min_samples: int = Field(1, ge=1)
    action: Literal["retrain", "warn"] = "warn"


RULES = (
    Rule(metric="feedback_accuracy", below_baseline=0.10, min_samples=30, action="retrain"),
    Rule(metric="canary_accuracy", below_baseline=0.15, min_samples=20, action="retrain"),
    Rule(metric="available", min=1),
    Rule(metric="error_rate", max=0.05, min_samples=20),
    Rule(metric="latency_p95_ms", max=2000, min_samples=20),
    Rule(metric="drift_words", max=0.10, min_samples=50),
    Rule(metric="drift_length", max=0.20, min_samples=50),
    Rule(metric="drift_labels", max=0.20, min_samples=50),
)


class RetrainConfig(Section):
    """When degradation starts a retrain, and how often at most."""

    sensor: bool = Field(True, description="whether the sensor is on from the start")
    interval_seconds: int = Field(15, ge=5)
    min_feedback: int = Field(30, ge=0, description="new corrections without which a retrain would teach nothing")
    cooldown_minutes: float = Field(30, ge=0)
    daily_budget: int = Field(4, ge=1, description="retrains in any 24 hours")


class MonitoringConfig(Section):
    """What is watched of the live endpoint, and what follows."""

    window_requests: int = Field(500, ge=10, description="the last requests that a report looks at")
    window_hours: float = Field(24, gt=0, description="and how old they may be")
    canaries: int = Field(64, ge=0, description="canary probes a report")
    cron: str = Field("*/5 * * * *", description="when the report is made")
    schedule: bool = Field(True, description="whether the schedule is on from the start")
    rules: tuple[Rule, ...] = RULES
    retrain: RetrainConfig = RetrainConfig()
    shift_packages: tuple[str, ...] = Field(
        (), description="installed packages outside the training data: what `simulate --shift` asks about"
    )
