"""How much each group should count: from the rows it has."""

from __future__ import annotations

from collections.abc import Mapping

from llm_assets.data.balance.config import Balanced, Weights


def group_factors(masses: Mapping[str, float], config: Balanced) -> dict[str, float]:
    """How much a row of each group counts; 1 for the most frequent group, at most `max_factor`.

    masses: rows of each group, or the sum of their weights where texts have soft labels.
    """
    most = max(masses.values(), default=1.0)
    found = {}
    for group, mass in sorted(masses.items()):
        if isinstance(config, Weights) and config.scheme == "effective_number":
            factor = _effective(most, config.beta) / _effective(mass, config.beta)
        else:
            factor = (most / mass) ** config.power
        found[group] = min(factor, config.max_factor)
    return found


def kept_shares(masses: Mapping[str, float], config: Balanced) -> dict[str, float]:
    """The share of each group's rows that undersampling keeps; 1 for the rarest, at least 1 / `max_factor`."""
    least = min(masses.values(), default=1.0)
    return {group: max((least / mass) ** config.power, 1 / config.max_factor) for group, mass in sorted(masses.items())}


def _effective(count: float, beta: float) -> float:
    """The expected volume of `count` samples (Cui, Jia, Lin, Song and Belongie, CVPR 2019, arXiv:1901.05555, eq. 2)."""
    return float((1 - beta**count) / (1 - beta))
