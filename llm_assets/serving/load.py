"""How fast the engine works, and so whether one more request would be answered in time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from llm_assets.serving.rows import Row

MEMORY = 3.0  # seconds of work that rates are taken over, so that they follow what else the machine does
FEW, BRIEF = 200, 1.0  # tokens and seconds of work that say nothing yet: the first steps are slow
LEARNED = 0.05  # weight of one finished reply in the share of its tokens that a reply is expected to use
MARGIN = 0.5  # of the time to a deadline may be taken up by what is before a request and itself: speed varies
NEARLY = 0.9
COMPANY = 0.5  # a token's time in a larger step than any that was seen, over that in the largest one seen,
FULL = 16  # unless that had so many tokens: from there on it hardly falls


class Load:
    """What a token costs, by how many a step reads or decodes: in company it costs a half to a fifth of what it costs
    alone, so what one client's stream took says little of sixteen.

    batch: most rows decoded together. read: tokens of a prompt read at once.
    """

    def __init__(self, batch: int, read: int) -> None:
        self._batch, self._read = batch, read
        self._seen: dict[int, tuple[float, float]] = {}  # bits of a step's size -> tokens, seconds
        self._share = 1.0

    def did(self, tokens: int, step: int, seconds: float) -> None:
        """Steps of `step` tokens took so long for so many tokens."""
        if not tokens:
            return
        if sum(spent for _, spent in self._seen.values()) > MEMORY:
            self._seen = {size: (before / 2, spent / 2) for size, (before, spent) in self._seen.items()}
        before, spent = self._seen.get(step.bit_length(), (0.0, 0.0))
        self._seen[step.bit_length()] = before + tokens, spent + seconds

    def finished(self, row: Row, tokens: int) -> None:
        """A reply has ended: most use less than they may."""
        self._share += LEARNED * (tokens / row.sampling.max_tokens - self._share)

    def takes(self, tokens: float, step: int) -> float:
        """How many seconds so many tokens take in steps of `step` tokens; 0 before anything is known."""
        size = step.bit_length()
        costs = {at: spent / done for at, (done, spent) in self._seen.items() if done >= FEW or spent >= BRIEF}
        smaller, larger = [at for at in costs if at <= size], [at for at in costs if at > size]
        if not costs:
            cost = 0.0
        elif smaller:
            near = max(smaller)
            cost = costs[near] * (COMPANY if near < min(size, FULL.bit_length()) else 1)
        else:
            cost = costs[min(larger)]
        return max(0.0, tokens) * cost

    def seconds(self, rows: Sequence[Row], company: int = 0) -> float:
        """How long what is left of these rows takes, with so many others beside them."""
        unread = sum(max(0, len(row.prompt) - row.past) for row in rows)
        left = sum(len(row.prompt) + self._share * row.sampling.max_tokens - row.past for row in rows)
        return self.takes(unread, self._read) + self.takes(left - unread, min(len(rows) + company, self._batch))

    def too_late(self, before: float, company: int, rows: Sequence[Row], now: float) -> bool:
        """Whether `rows` would miss their deadline because of the `company` before them, which are `before` seconds of
        work."""
        return late(before, self.seconds(rows, company), rows[0].deadline - now)


def late(before: float, own: float, left: float) -> bool:
    """Whether the seconds of work `before` a request keep it, with `own` seconds, from being answered in the time that
    is `left`."""
    return before > 0 and before + own > MARGIN * left


def nearly_late(before: float, seconds: float) -> bool:
    """Whether `before` alone takes up nearly all that may be before a request that may take so many seconds."""
    return before > NEARLY * MARGIN * seconds


def retry_after(before: float) -> int:
    """Whole seconds after which about half of the work `before` a request is done: 1 to 30."""
    return min(30, max(1, math.ceil(before / 2)))
