"""Which rows stay, and which are made of which: as arrays, before any row is written."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.balance.config import Balance, Oversample, Smote, Undersample, Weights
from llm_assets.data.balance.factors import group_factors, kept_shares
from llm_assets.data.balance.groups import Groups
from llm_assets.data.balance.synthetic import synthetic_rows
from llm_assets.data.balance.topics import texts_at
from llm_assets.data.executor import cores
from llm_assets.data.features import FIT_ROWS, fit_features, sample_rows, stable_draw
from llm_assets.data.reread import batches_of

if TYPE_CHECKING:
    from llm_assets.data.reread import Documents
ALONE_ROWS = 20_000  # rows and points that are there before other processes are


@dataclass(frozen=True)
class Made:
    """Rows to be made, ordered by the row they come from. first: int64, that row; copy: int32, its how many-eth;
    second: int64, the row of which a span is put in, -1 for none; share: float64, of the words that are `first`'s.
    """

    first: np.ndarray
    copy: np.ndarray
    second: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class Plan:
    """keep: bool [rows]; weights: float32 of the rows kept, then of those made, mean 1; step: what makes rows."""

    keep: np.ndarray
    made: Made
    weights: np.ndarray
    step: str = ""


def make_plan(documents: Documents, groups: Groups, config: Balance, seed: int, workers: int | None = None) -> Plan:
    """What `config` asks for. A weight that a row has (a share of a soft label) is multiplied, and counted as rows.

    workers: processes for SMOTE, by default all cores where there are many rows; the plan is the same for any number.
    """
    rows = len(groups.codes)
    keep, made, weights, step = np.ones(rows, bool), _repeats(np.zeros(rows, np.int64)), groups.weights, ""
    if isinstance(config, Weights):
        factors = group_factors(groups.masses(), config)
        weights = weights * np.array([factors[name] for name in groups.names] + [1.0])[groups.codes]
    elif isinstance(config, Undersample):
        keep = _kept(documents, groups, config, seed)
    elif isinstance(config, Oversample):
        made, step = _repeats(_copies(groups, config, seed)), "repeat"
    elif isinstance(config, Smote):
        made, step = _synthetic(documents, groups, config, seed, workers), "smote"
    final = np.concatenate([weights[keep], weights[made.first]])
    return Plan(keep, made, (final / final.mean() if len(final) else final).astype(np.float32), step)


def _kept(documents: Documents, groups: Groups, config: Undersample, seed: int) -> np.ndarray:
    """Of each group the rows first by the hash of seed and id. Rows of no group stay."""
    shares, keep = kept_shares(groups.masses(), config), groups.codes < 0
    draws = np.concatenate(
        [
            np.array([stable_draw("undersample", seed, name) for name in batch["id"].to_pylist()])
            for batch in batches_of(documents, ["id"])
        ]
        or [np.empty(0)]
    )
    for name, rows in groups.rows().items():
        order = rows[np.argsort(draws[rows], kind="stable")]
        keep[order[: max(1, round(shares[name] * len(rows)))]] = True
    return keep


def _copies(groups: Groups, config: Oversample, seed: int) -> np.ndarray:
    """Whole repeats first, then a random draw for the fraction, so that no row is repeated twice more than another."""
    factors, copies = group_factors(groups.masses(), config), np.zeros(len(groups.codes), np.int64)
    for name, rows in groups.rows().items():
        whole, rest = divmod(round(len(rows) * (factors[name] - 1)), len(rows))
        copies[rows] = whole
        copies[random.Random(f"{seed}/{name}").sample(rows.tolist(), rest)] += 1
    return copies


def _repeats(copies: np.ndarray) -> Made:
    first = np.repeat(np.arange(len(copies)), copies)
    copy = np.arange(len(first)) - np.searchsorted(first, first)
    return Made(first, copy.astype(np.int32), np.full(len(first), -1), np.ones(len(first)))


def _synthetic(documents: Documents, groups: Groups, config: Smote, seed: int, workers: int | None) -> Made:
    """The real rows nearest to SMOTE's points."""
    factors, rows = group_factors(groups.masses(), config), groups.rows()
    more = {name: round(len(found) * factors[name]) - len(found) for name, found in rows.items()}
    more = {name: count for name, count in more.items() if count > 0}
    if not more:
        return _repeats(np.zeros(len(groups.codes), np.int64))
    inside = np.flatnonzero(groups.codes >= 0)
    sample = texts_at(documents, inside[sample_rows(len(inside), FIT_ROWS, seed)])
    features = fit_features(sample, config.dimensions, seed)
    if workers is None:
        workers = cores() if sum(len(rows[name]) + count for name, count in more.items()) > ALONE_ROWS else 1
    first, second, share = synthetic_rows(documents, rows, more, features, config.neighbours, seed, workers)
    order = np.argsort(first, kind="stable")
    made = _repeats(np.bincount(first, minlength=len(groups.codes)))
    if config.rows == "nearest_text":
        return made
    return Made(made.first, made.copy, np.where(second == first, -1, second)[order], share[order])
