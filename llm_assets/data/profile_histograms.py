"""Histograms, quartiles and outliers from counted numbers."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np

from llm_assets.data.profile_counts import Counted, Numbers

BINS = 16
OTHERS = "others: "  # starts the name of the bar of all values that have none of their own
FENCE = 3.0  # interquartile ranges beyond the quartiles: Tukey's "far out" (Exploratory Data Analysis, 1977)
HEAVY_TAIL = 8.0  # a positive column whose upper half spans this many times its lower half is drawn on a log scale
LARGEST = sys.float_info.max


def histogram(numbers: Numbers, grouped: bool = True) -> list[list[Any]]:
    """[[range, rows], ...] over all values: equal steps of a round width, or doubling ones for long tails.

    A range is closed below and open above, but for the last; ranges of whole numbers name both ends. grouped: write
    1,999 (years are not).
    """
    values, counts = numbers.values, numbers.counts
    low, high = float(values[0]), float(values[-1])
    whole = bool(np.all(values == np.round(values))) and abs(low) + abs(high) < 1e15
    if values.size <= 12 and whole:
        return [[_short(value, grouped), int(count)] for value, count in zip(values, counts, strict=True)]
    median = numbers.quantiles([0.5])[0]
    if low >= 0 and high - median > HEAVY_TAIL * max(median - low, 1e-300) and high > 16:
        last = min(math.floor(math.log2(high)) + 1, 1023)  # the greatest power of two that a float holds
        edges = [0.0, *(2.0**power for power in range(max(_first_power(values), last - BINS + 1), last + 1))]
    else:
        step = _round_step(high / BINS - low / BINS, whole)
        start = math.floor(low / step)
        end = math.floor(high / step) + 1 if whole else math.ceil(high / step)
        places = range(start, max(end, start + 1) + 1)
        edges = [min(max(place * step, -LARGEST), LARGEST) for place in places]
    bins = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    sums = np.bincount(bins, counts, len(edges) - 1).astype(int)
    named = []
    for lower, upper, count in zip(edges[:-1], edges[1:], sums, strict=True):
        until = min(upper - 1, high) if whole else upper
        name = _short(lower, grouped)
        named.append([name if until <= lower else f"{name} to {_short(until, grouped)}", int(count)])
    return named[1:] if not sums[0] and edges[0] == 0.0 and len(named) > 1 else named


def frequent_bars(counted: Counted, present: int, most: int = BINS) -> list[list[Any]]:
    """The most frequent values, and one bar for the rest where there is a rest."""
    shown = [[text, count] for text, count in counted.frequent[:most]]
    rest = present - sum(count for _, count in counted.frequent[:most])
    return [*shown, [f"{OTHERS}{counted.distinct - len(shown):,}", rest]] if rest else shown


def spread(numbers: Numbers) -> dict[str, float]:
    """Minimum, quantiles, maximum and mean."""
    p01, p05, q1, median, q3, p99 = numbers.quantiles([0.01, 0.05, 0.25, 0.5, 0.75, 0.99])
    found = {"min": numbers.low, "p01": p01, "p05": p05, "q1": q1, "median": median, "q3": q3, "p99": p99}
    found |= {"max": numbers.high, "mean": float(np.dot(numbers.values, numbers.counts / numbers.counts.sum()))}
    return {name: float(f"{value:.9g}") for name, value in found.items()}


def outliers(numbers: Numbers, of: str) -> dict[str, Any] | None:
    """Rows beyond Tukey's far-out fences (FENCE); None where half of the values are one number, or none is beyond."""
    if not numbers.values.size:
        return None
    q1, q3 = numbers.quantiles([0.25, 0.75])
    if q3 <= q1:
        return None
    low, high = q1 - FENCE * (q3 - q1), q3 + FENCE * (q3 - q1)
    beyond = (numbers.values < low) | (numbers.values > high)
    if not beyond.any():
        return None
    values = numbers.values[beyond]
    shown = sorted({float(value) for value in (*values[:3], *values[-3:])})
    return {
        "of": of,
        "low": float(f"{low:.9g}"),
        "high": float(f"{high:.9g}"),
        "count": int(numbers.counts[beyond].sum()),
        "examples": [float(f"{value:.9g}") for value in shown],
    }


def _first_power(values: np.ndarray) -> int:
    positive = values[values > 0]
    return math.floor(math.log2(positive[0])) if positive.size else 0


def _round_step(width: float, whole: bool) -> float:
    """The next of 1, 2 and 5 times a power of ten; at least 1 between whole numbers."""
    if width <= 0 or (whole and width <= 1):
        return 1.0
    power = 10.0 ** math.floor(math.log10(width))
    return next((factor * power for factor in (1, 2, 5) if factor * power >= width * 0.999), 10 * power)


def _short(value: float, grouped: bool = True) -> str:
    if value == round(value) and abs(value) < 1e12:
        return f"{value:,.0f}" if grouped else f"{value:.0f}"
    return f"{value:.4g}"
