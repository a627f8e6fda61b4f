"""The rules of degradation, evaluated on the metrics of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from llm_assets.errors import UserError
from llm_assets.monitoring.config import Rule

# What a rule may name, and the metric that counts its samples.
SAMPLES = {
    "feedback_accuracy": "feedback_samples",
    "canary_accuracy": "canary_samples",
    "available": "probes",
    "error_rate": "requests",
    "latency_p50_ms": "requests",
    "latency_p95_ms": "requests",
    "latency_p99_ms": "requests",
    "ttft_p95_ms": "requests",
    "drift_words": "drift_samples",
    "drift_length": "drift_samples",
    "drift_labels": "drift_samples",
}
BASELINES = {"feedback_accuracy": "baseline_accuracy", "canary_accuracy": "baseline_accuracy"}


@dataclass(frozen=True)
class Finding:
    """One rule that fired, and why."""

    rule: Rule
    value: float
    bound: float
    samples: int

    @property
    def text(self) -> str:
        side = "below" if self.value < self.bound else "above"
        return f"{self.rule.metric} {self.value:.4g} is {side} {self.bound:.4g} ({self.samples} samples)"


def evaluate(
    rules: Sequence[Rule], metrics: Mapping[str, float], noise: Mapping[str, float] | None = None
) -> list[Finding]:
    """The rules that fire. A metric without samples, or a baseline that is not known, fires nothing.

    noise: metric -> what chance alone gives it; it is added to `max`.
    """
    found = []
    for rule in rules:
        if rule.metric not in SAMPLES:
            raise UserError(f"monitoring.rules: no metric {rule.metric!r}; there are {', '.join(sorted(SAMPLES))}")
        value, samples = metrics.get(rule.metric), int(metrics.get(SAMPLES[rule.metric], 0))
        if value is None or samples < rule.min_samples:
            continue
        baseline = metrics.get(BASELINES.get(rule.metric, ""))
        low = [rule.min] if rule.min is not None else []
        if rule.below_baseline is not None and baseline is not None:
            low.append(baseline - rule.below_baseline)
        if low and value < max(low):
            found.append(Finding(rule, value, max(low), samples))
        elif rule.max is not None and value > rule.max + (noise or {}).get(rule.metric, 0.0):
            found.append(Finding(rule, value, rule.max + (noise or {}).get(rule.metric, 0.0), samples))
    return found


def reasons(findings: Sequence[Finding]) -> list[str]:
    """The metrics that call for a retrain, in a fixed order."""
    return sorted({finding.rule.metric for finding in findings if finding.rule.action == "retrain"})
