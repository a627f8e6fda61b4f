"""Drift measures, and the rules that judge them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from llm_assets.errors import UserError
from llm_assets.monitoring.config import RULES, Rule
from llm_assets.monitoring.drift import js_divergence, label_drift, length_drift, psi, word_drift
from llm_assets.monitoring.rules import evaluate, reasons

COMMON = [
    "the",
    "a",
    "of",
    "to",
    "and",
    "returns",
    "value",
    "array",
    "with",
    "for",
    "is",
    "in",
    "given",
    "shape",
    "axis",
    "type",
    "data",
    "model",
    "number",
    "list",
]
OTHER = ["node", "edge", "graph", "weight", "path", "vertex", "cycle", "flow", "tree", "neighbour"]


def texts(words: list[str], n: int, seed: int) -> list[str]:
    chooser = random.Random(seed)
    return [" ".join(chooser.choices(words, k=chooser.randint(8, 40))) for _ in range(n)]


def test_measures_on_known_histograms():
    even = np.array([50.0, 50.0])
    assert psi(even, even) == 0 and js_divergence(even, even) == 0
    assert psi(even, np.array([80.0, 20.0])) == pytest.approx(0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5))
    assert js_divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(1.0)
    assert label_drift(["a", "b"], ["c", "c"]) == pytest.approx(1.0)


def test_equal_texts_drift_within_chance_and_other_texts_do_not():
    reference = texts(COMMON, 1500, 1)
    inside = [word_drift(reference, texts(COMMON, 200, seed), 7) for seed in range(10, 20)]
    assert sum(drift.size > drift.noise for drift in inside) <= 3  # the noise is a 95th percentile
    assert all(drift.size < 0.05 for drift in inside)
    shifted = word_drift(reference, texts(COMMON + OTHER, 200, 3), 7)
    assert shifted.size > 0.1 + shifted.noise
    assert word_drift(reference, texts(COMMON, 200, 3), 7) == word_drift(reference, texts(COMMON, 200, 3), 7)
    longer = [text * 3 for text in texts(COMMON, 200, 4)]
    drift = length_drift(reference, longer, 7)
    assert drift.size > 0.2 + drift.noise
    assert length_drift(["same"] * 50, ["same"] * 20, 7).size == pytest.approx(0.0)


def metrics(**more) -> dict:
    return {
        "baseline_accuracy": 0.85, "feedback_accuracy": 0.84, "feedback_samples": 100, "requests": 200,
        "error_rate": 0.0, "available": 1, "probes": 10, "drift_samples": 200, "drift_words": 0.02,
    } | more  # fmt: skip


def test_rules_fire_past_their_bound_and_not_before():
    assert evaluate(RULES, metrics()) == []
    fired = evaluate(RULES, metrics(feedback_accuracy=0.70))
    assert reasons(fired) == ["feedback_accuracy"] and "below 0.75 (100 samples)" in fired[0].text
    assert evaluate(RULES, metrics(feedback_accuracy=0.70, feedback_samples=29)) == [], "too few samples"
    assert evaluate(RULES, {"feedback_accuracy": 0.1, "feedback_samples": 99}) == [], "no baseline is known"
    slow = evaluate(RULES, metrics(error_rate=0.5, available=0, drift_words=0.5))
    assert len(slow) == 3 and reasons(slow) == [], "a slow host or drift alone does not retrain"
    assert evaluate(RULES, metrics(drift_words=0.15), {"drift_words": 0.06}) == [], "chance alone explains it"


def test_an_unknown_metric_is_named():
    with pytest.raises(UserError, match=r"'happiness'.*canary_accuracy"):
        evaluate([Rule(metric="happiness", min=1)], {})
