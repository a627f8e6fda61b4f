"""How often rows tell what they have: each telling stops the model."""

from __future__ import annotations

from collections.abc import Sequence

from llm_assets.serving.rows import Row

PIECES = 400  # a second that all rows tell together: more would take the cores from the model
PIECES_OF_ONE = 100  # a second that one row tells: more than eyes can follow
MOMENT = 0.01  # seconds of steps after which rows that tell nothing are looked at: who has gone, who is late


def next_look(rows: Sequence[Row], now: float) -> float:
    """When one of the rows is to tell again, or all are to be looked at."""
    wait = _between(rows)
    return min((row.looked + wait for row in rows if row.streamed), default=now + MOMENT)


def holding(rows: Sequence[Row], now: float) -> list[bool]:
    """Of each row whether it keeps for later what it has. Where one is due, those that are half due tell too, and from
    then on together."""
    wait = _between(rows)
    if any(row.streamed and now >= row.looked + wait for row in rows):
        wait /= 2
    return [bool(row.first_token) and not (row.streamed and now >= row.looked + wait) for row in rows]


def _between(rows: Sequence[Row]) -> float:
    """Seconds between two pieces that a row tells."""
    return max(len(rows) / PIECES, 1 / PIECES_OF_ONE)
