"""A `Summary` as a person sees it in the Dagster UI: line charts, bars, shares and tables in an asset's metadata."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, LINE, GRID = "#4a5568", "#2f6fde", "#d5dae3"
PARTS = ("#2f8f6b", "#c8442f", "#b9bec2", "#4a7fb5")  # right, wrong, absent, other
MAX_BARS = 40


def line_chart(title: str, points: Sequence[tuple[float, float]]) -> str:
    """Markdown of an image: y over x (a loss over steps)."""

    def draw(axes: Axes) -> None:
        axes.plot([x for x, _ in points], [y for _, y in points], color=LINE, linewidth=1.8)
        axes.grid(color=GRID, linewidth=0.6)

    return _image(title, draw, height=2.4)


def bar_chart(title: str, values: Mapping[str, float]) -> str:
    """Markdown of an image: one horizontal bar a name, the first on top, each with its number."""
    shown = [(_plain(name), value) for name, value in list(values.items())[:MAX_BARS]]

    def draw(axes: Axes) -> None:
        bars = axes.barh([name for name, _ in shown], [value for _, value in shown], color=LINE, height=0.7)
        axes.bar_label(bars, labels=[f"{value:,.4g}" for _, value in shown], fontsize=7, padding=3, color=INK)
        axes.invert_yaxis()
        axes.margins(x=0.12)

    return _image(title, draw, height=0.6 + 0.19 * max(len(shown), 3))


def table(rows: Sequence[Mapping[str, str]]) -> str:
    """Markdown of a table of short texts."""
    if not rows:
        return ""
    names = list(rows[0])
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(cell(str(row.get(name, ""))) for name in names) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def share_chart(title: str, values: Mapping[str, Mapping[str, float]]) -> str:
    """Markdown of an image: one full-width bar a name, cut into the shares of its parts (at most four)."""
    shown = {_plain(name): some for name, some in list(values.items())[:MAX_BARS]}
    parts = list(dict.fromkeys(part for some in shown.values() for part in some))
    totals = [sum(some.values()) or 1 for some in shown.values()]

    def draw(axes: Axes) -> None:
        left = [0.0] * len(shown)
        for part, colour in zip(parts, PARTS, strict=False):
            widths = [some.get(part, 0) / total for some, total in zip(shown.values(), totals, strict=True)]
            axes.barh(list(shown), widths, left=left, color=colour, height=0.62, label=part)
            left = [a + b for a, b in zip(left, widths, strict=True)]
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.legend(
            ncols=len(parts), fontsize=7, frameon=False, loc="lower right", bbox_to_anchor=(1, 1), labelcolor=INK
        )

    return _image(title, draw, height=0.8 + 0.19 * max(len(shown), 3))


def cell(text: str, limit: int = 300) -> str:
    """Text for a cell of a Markdown table, with nothing in it that Markdown or HTML would act on."""
    flat = " ".join(text.split())
    flat = flat if len(flat) <= limit else flat[: limit - 1] + "…"
    for mark, safe in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\\", "&#92;"), ("|", "&#124;")):
        flat = flat.replace(mark, safe)
    for mark in "[]!*_`~":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def _plain(name: str, limit: int = 60) -> str:
    """A name from data as a label: in one line, and never read as a formula, which a pair of dollars would start."""
    flat = "".join(mark if mark.isprintable() else " " for mark in str(name))
    return (flat if len(flat) <= limit else flat[: limit - 1] + "…").replace("$", r"\$")


def _image(title: str, draw: Callable[[Axes], None], height: float) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, height), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=9, color=INK, loc="left")
    axes.tick_params(labelsize=7, colors=INK)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, facecolor="white", metadata={"Software": None})
    return f"![{title}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
