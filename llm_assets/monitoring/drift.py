"""Drift of live texts against the training texts: effect sizes, beside what chance alone would give."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WORD = re.compile(r"\w+")
WORD_BUCKETS = 32
LENGTH_BUCKETS = 10
RESAMPLES = 60
FLOOR = 1e-4  # share that an empty bucket counts as; PSI is infinite otherwise


@dataclass(frozen=True)
class Drift:
    """size: the effect (PSI or Jensen-Shannon divergence). noise: 95th percentile of the same measure
    between as many training texts, drawn at random, and all of them."""

    size: float
    noise: float


def psi(expected: np.ndarray, actual: np.ndarray) -> float:
    """Population stability index of two histograms [buckets]; 0.1 is usually called moderate, 0.25 large."""
    p = np.maximum(expected / expected.sum(), FLOOR)
    q = np.maximum(actual / actual.sum(), FLOOR)
    return float(((q - p) * np.log(q / p)).sum())


def js_divergence(left: np.ndarray, right: np.ndarray) -> float:
    """Jensen-Shannon divergence of two histograms [buckets], in bits: 0 (equal) to 1 (disjoint)."""
    p, q = left / left.sum(), right / right.sum()
    middle = (p + q) / 2

    def against(x: np.ndarray) -> float:
        some = x > 0
        return float((x[some] * np.log2(x[some] / middle[some])).sum())

    return (against(p) + against(q)) / 2


def word_drift(reference: Sequence[str], live: Sequence[str], seed: int) -> Drift:
    """PSI of hashed unigrams: every word falls into one of 32 buckets."""
    rows = np.stack([_word_counts(text) for text in reference])
    found = np.stack([_word_counts(text) for text in live])
    return _drift(rows, found, seed)


def length_drift(reference: Sequence[str], live: Sequence[str], seed: int) -> Drift:
    """PSI of text length (characters), in tenths of the training texts."""
    lengths = np.array([len(text) for text in reference])
    edges = np.unique(np.quantile(lengths, np.linspace(0, 1, LENGTH_BUCKETS + 1)[1:-1]))

    def one_hot(texts: Sequence[str]) -> np.ndarray:
        return np.eye(len(edges) + 1)[np.searchsorted(edges, [len(text) for text in texts], side="left")]

    return _drift(one_hot(reference), one_hot(live), seed)


def label_drift(reference: Sequence[str], live: Sequence[str]) -> float:
    """Jensen-Shannon divergence of the live predictions' labels and the training labels."""
    names = sorted({*reference, *live})
    place = {name: index for index, name in enumerate(names)}
    left = np.bincount([place[name] for name in reference], minlength=len(names))
    right = np.bincount([place[name] for name in live], minlength=len(names))
    return js_divergence(left, right)


def _drift(reference: np.ndarray, live: np.ndarray, seed: int) -> Drift:
    """reference, live: counts [texts, buckets]. Whole texts are resampled: words of one text come
    together.
    """
    total = reference.sum(axis=0)
    random = np.random.default_rng(seed)
    draws = [psi(total, reference[random.integers(0, len(reference), len(live))].sum(axis=0)) for _ in range(RESAMPLES)]
    return Drift(psi(total, live.sum(axis=0)), float(np.quantile(draws, 0.95)))


def _word_counts(text: str) -> np.ndarray:
    """crc32, not hash(): the same in every process."""
    buckets = [zlib.crc32(word.encode()) % WORD_BUCKETS for word in WORD.findall(text.lower())]
    return np.bincount(buckets, minlength=WORD_BUCKETS)
