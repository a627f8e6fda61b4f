"""How far reviewers agree beyond chance, and whether a place on the page is favoured."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from math import sqrt

from typing_extensions import TypedDict

from llm_assets.serving.labels import Vote

Z = 1.959964  # of a 95 % interval


class Position(TypedDict):
    """left, right: how often the reply there was chosen. biased: whether one half lies outside the interval of the left
    share, which it does by chance one time in twenty."""

    left: int
    right: int
    share_left: float | None
    interval: tuple[float, float] | None
    biased: bool


class Reviewer(TypedDict):
    reviewer: str
    votes: int
    skipped: int
    ties: int
    position: Position


class Agreement(TypedDict):
    """alpha: Krippendorff's, over the pairs with two votes and more."""

    votes: int
    pairs_judged_twice: int
    alpha: float | None
    position: Position
    reviewers: list[Reviewer]


def krippendorff_alpha(units: Iterable[Sequence[str]]) -> float | None:
    """Alpha for nominal values (Krippendorff 2011): 1 is perfect agreement, 0 what chance gives.

    units: for each thing judged, the values it was given; those with fewer than two say nothing. None where nothing was
    judged twice, or all values are the same.
    """
    judged = [Counter(values) for values in units if len(values) >= 2]
    total: Counter[str] = Counter()
    for counts in judged:
        total.update(counts)
    expected = _unequal(total)  # were all values in one urn
    if not expected:
        return None
    observed = sum(_unequal(counts) / (counts.total() - 1) for counts in judged)
    return 1 - (total.total() - 1) * observed / expected


def _unequal(counts: Counter[str]) -> int:
    """Ordered pairs of unequal values."""
    return counts.total() ** 2 - sum(count * count for count in counts.values())


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927). n >= 1."""
    share, slack = successes / n, Z * Z / n
    middle = (share + slack / 2) / (1 + slack)
    half = Z / (1 + slack) * sqrt(share * (1 - share) / n + slack / (4 * n))
    return middle - half, middle + half


def agreement(votes: Sequence[Vote]) -> Agreement:
    by_pair: dict[str, list[str]] = defaultdict(list)
    for vote in votes:
        if vote.choice != "skip":
            by_pair[vote.pair].append(vote.choice)
    alpha = krippendorff_alpha(by_pair.values())
    names = sorted({vote.reviewer for vote in votes})
    return {
        "votes": sum(vote.choice != "skip" for vote in votes),
        "pairs_judged_twice": sum(len(values) >= 2 for values in by_pair.values()),
        "alpha": None if alpha is None else round(alpha, 4),
        "position": position(votes),
        "reviewers": [
            {
                "reviewer": name,
                "votes": sum(vote.choice != "skip" for vote in mine),
                "skipped": sum(vote.choice == "skip" for vote in mine),
                "ties": sum(vote.choice == "tie" for vote in mine),
                "position": position(mine),
            }
            for name in names
            for mine in [[vote for vote in votes if vote.reviewer == name]]
        ],
    }


def position(votes: Sequence[Vote]) -> Position:
    places = Counter(vote.position for vote in votes if vote.position)
    left, chosen = places["left"], places.total()
    if not chosen:
        return {"left": 0, "right": 0, "share_left": None, "interval": None, "biased": False}
    low, high = wilson(left, chosen)
    return {
        "left": left,
        "right": chosen - left,
        "share_left": round(left / chosen, 4),
        "interval": (round(low, 4), round(high, 4)),
        "biased": not low <= 0.5 <= high,
    }
