"""Where work is: stages say how far they are, and whoever looks (a terminal, the run's log) listens."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

State = Literal["started", "working", "computed", "reused", "gated", "failed"]


@dataclass(frozen=True)
class Update:
    """One sign of life of one asset. Seconds are wall-clock seconds of this process."""

    asset: str
    state: State
    done: float = 0.0
    total: float = 0.0
    note: str = ""
    work_seconds: float = 0.0
    storage_seconds: float = 0.0
    gate_seconds: float = 0.0


Listener = Callable[[Update], None]
_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Within this block `listener` hears every update of this process."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def announce(update: Update) -> None:
    for listener in _listeners:
        listener(update)


def seconds_text(seconds: float) -> str:
    """75 -> '1 min 15 s'."""
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60:02d} s"


def reporter(asset: str, log: Callable[[str], object], every: float = 5.0) -> Callable[..., None]:
    """The `Progress` of one asset's step: listeners hear all of it, the run's log a line every `every` seconds."""
    started = time.monotonic()
    last_log = started
    last_update = 0.0

    def report(done: float, total: float, note: str = "") -> None:
        nonlocal last_log, last_update
        now = time.monotonic()
        if now - last_update > 0.1 or done >= total:
            last_update = now
            announce(Update(asset, "working", done, total, note))
        if now - last_log >= every and total > 0:
            last_log = now
            share = min(done / total, 1.0)
            left = (now - started) * (1 - share) / share if share > 0 else 0.0
            log(f"{share:.0%} of {asset}, about {seconds_text(left)} left{': ' + note if note else ''}")

    return report
