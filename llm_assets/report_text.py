"""Pieces of what commands print."""

from __future__ import annotations

from datetime import UTC, datetime

from rich.markup import escape
from rich.table import Table

from llm_assets.report import HEADLINES, short
from resources.store import Version


def columns(*titles: str, title: str | None = None) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    for name in titles:
        shown.add_column(name)
    return shown


def glance(version: Version) -> str:
    metrics = version.summary.metrics
    return escape(", ".join(f"{key} {short(metrics[key])}" for key in HEADLINES if key in metrics))


def listed(items: list[str], limit: int) -> str:
    return ", ".join(items[:limit]) + (f" and {len(items) - limit} more" if len(items) > limit else "")


def cut(text: object, limit: int = 80) -> str:
    flat = " ".join(str(text or "").split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"


def moment(seconds: float) -> str:
    """A time of the epoch as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
