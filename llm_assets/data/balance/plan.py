"""Which rows stay, and which are made of which: as arrays, before any row is written."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.balance.config import Balance, Oversample, Smote, Undersample, Weights
from llm_assets.data.balance.factors import group_factors, kept_shares
from llm_assets.data.balance.groups import Groups
from llm_assets.data.balance.smote import near_rows, smote_features
from llm_assets.data.balance.topics import texts_at
from llm_assets.data.features import FIT_ROWS, fit_features, sample_rows, stable_draw
from llm_assets.data.reread import batches_at, batches_of

if TYPE_CHECKING:
    from llm_assets.data.reread import Documents


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


def make_plan(documents: Documents, groups: Groups, config: Balance, seed: int) -> Plan:
    """What `config` asks for. A weight that a row has (a share of a soft label) is multiplied, and counted as rows."""
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
        made, step = _synthetic(documents, groups, config, seed), "smote"
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


def _synthetic(documents: Documents, groups: Groups, config: Smote, seed: int) -> Made:
    """The real rows nearest to SMOTE's points. Features are held of the groups that grow, and of no others."""
    factors, rows = group_factors(groups.masses(), config), groups.rows()
    wanted = {name: round(len(found) * factors[name]) for name, found in rows.items()}
    grown = [name for name in rows if wanted[name] > len(rows[name])]
    if not grown:
        return _repeats(np.zeros(len(groups.codes), np.int64))
    inside = np.flatnonzero(groups.codes >= 0)
    sample = texts_at(documents, inside[sample_rows(len(inside), FIT_ROWS, seed)])
    features = fit_features(sample, config.dimensions, seed)
    most = max(rows, key=lambda name: len(rows[name]))  # one row of another class: SMOTE wants two
    numbers = np.sort(np.concatenate([rows[most][:1], *(rows[name] for name in grown)]))
    points = np.vstack(
        [
            features.points([text or "" for text in batch["text"].to_pylist()])[0]
            for batch in batches_at(documents, numbers, ["text"])
            if batch.num_rows
        ]
    )
    labels = [groups.names[code] for code in groups.codes[numbers]]
    more, of = smote_features(points, labels, {name: wanted[name] for name in grown}, config.neighbours, seed)
    near = near_rows(points, labels, more[len(points) :], of[len(points) :].tolist())
    first, second = (numbers[[getattr(one, side) for one in near]] for side in ("first", "second"))
    order = np.argsort(first, kind="stable")
    made = _repeats(np.bincount(first, minlength=len(groups.codes)))
    if config.rows == "nearest_text":
        return made
    second = np.where(second == first, -1, second)[order]
    return Made(made.first, made.copy, second, np.array([one.share for one in near])[order])
