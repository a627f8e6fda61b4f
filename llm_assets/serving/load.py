"""How fast the engine works, and so whether one more request would be answered in time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from llm_assets.serving.rows import Row

MEMORY = 3.0  # seconds of work that the rate is taken over, so that it follows what else the machine does
FEW, BRIEF = 200, 1.0  # tokens and seconds of work that say nothing yet: the first steps are slow
LEARNED = 0.05  # weight of one finished reply in the share of its tokens that a reply is expected to use
MARGIN = 0.5  # of the time to a deadline may be taken up by what is before a request and itself: speed varies
NEARLY = 0.9


class Load:
    """Work is counted in tokens read or decoded: on a CPU, at a full batch, the two cost about the same."""

    def __init__(self) -> None:
        self._tokens = self._seconds = 0.0
        self._share = 1.0

    def did(self, tokens: int, seconds: float) -> None:
        """A step took so long for so many tokens."""
        if self._seconds > MEMORY:
            self._tokens, self._seconds = self._tokens / 2, self._seconds / 2
        self._tokens += tokens
        self._seconds += seconds

    def finished(self, row: Row, tokens: int) -> None:
        """A reply has ended: most use less than they may."""
        self._share += LEARNED * (tokens / row.sampling.max_tokens - self._share)

    def takes(self, tokens: float) -> float:
        """How many seconds so many tokens take; 0 before anything is known."""
        if not self._tokens or (self._tokens < FEW and self._seconds < BRIEF):
            return 0.0
        return max(0.0, tokens) * self._seconds / self._tokens

    def seconds(self, rows: Iterable[Row]) -> float:
        """How long what is left of these rows takes."""
        return self.takes(sum(len(row.prompt) + self._share * row.sampling.max_tokens - row.past for row in rows))

    def too_late(self, before: float, rows: Sequence[Row], now: float) -> bool:
        """Whether `rows` would miss their deadline because of the seconds of work `before` them."""
        return late(before, self.seconds(rows), rows[0].deadline - now)


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
