"""A text with a span of another in it."""

from __future__ import annotations

import random


def span_mix(first: str, second: str, share: float, rng: random.Random) -> tuple[str, float]:
    """(`first` with a span of its words replaced by one of `second`, the share of the words that are `first`'s).

    Both keep at least one word, so the share, counted and not drawn, lies within (0, 1). Text of less than two words
    cannot be mixed: it comes back with share 1.
    """
    kept, given = first.split(), second.split()
    if len(kept) < 2 or not given:
        return " ".join(kept), 1.0
    size = min(max(1, round((1 - share) * len(kept))), len(kept) - 1, len(given))
    start, source = rng.randint(0, len(kept) - size), rng.randint(0, len(given) - size)
    mixed = kept[:start] + given[source : source + size] + kept[start + size :]
    return " ".join(mixed), 1 - size / len(kept)
