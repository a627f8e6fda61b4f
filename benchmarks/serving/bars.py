"""What must be reached, and whether it was."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bar:
    name: str
    found: float
    wanted: str
    met: bool


def at_least(name: str, found: float, bar: float) -> Bar:
    return Bar(name, found, f"at least {bar:g}", found >= bar)


def at_most(name: str, found: float, bar: float) -> Bar:
    return Bar(name, found, f"at most {bar:g}", found <= bar)
