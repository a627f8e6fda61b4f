"""The evaluation report as one self-contained page: a table, a picture of size against accuracy, slices by
label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

COLUMNS = (
    ("accuracy", "accuracy", "{:.1%}", True),
    ("macro_f1", "macro-F1", "{:.3f}", True),
    ("validation_accuracy", "validation", "{:.1%}", True),
    ("perplexity", "answer perplexity", "{:.2f}", False),
    ("summary_f1", "summary F1", "{:.3f}", True),
    ("summary_rouge_l", "ROUGE-L", "{:.3f}", True),
    ("size_mb", "size, MB", "{:.2f}", False),
)
STYLE = """
:root { --ink: #1f2733; --soft: #5b6675; --line: #dfe4ec; --accent: #2f6fde; --warm: #d9822b; --page: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaf0; --soft: #9aa5b4; --line: #333c49; --accent: #6fa1ff; --warm: #f0a95c; --page:
#161b22; } }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; background: var(--page); color:
var(--ink);
  font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.05rem; margin: 2.2rem 0 .6rem; }
p { color: var(--soft); margin: .2rem 0 .8rem; max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; } th { color: var(--soft); font-weight: 500; }
td.best { color: var(--accent); font-weight: 650; }
tr.baseline td { color: var(--soft); }
.bar { display: inline-block; height: .55rem; border-radius: 2px; background: var(--accent); vertical-align:
middle; } td.wide { text-align: left; width: 40%; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; }
svg .axis { stroke: var(--line); } svg .tick { fill: var(--soft); font-size: 11px; }
svg .front { fill: none; stroke: var(--accent); stroke-width: 1.6; stroke-dasharray: 4 3; }
svg .dot { fill: var(--accent); } svg .ruler { stroke: var(--warm); stroke-dasharray: 2 4; }
"""


def page(report: Mapping[str, Any], baseline_name: str) -> str:
    """The whole HTML document; the same report gives the same bytes."""
    variants: Mapping[str, Mapping[str, Any]] = report["variants"]
    best = max(variants, key=lambda name: variants[name]["accuracy"])
    rows = ", ".join(f"{count:,} to {task}" for task, count in report["test_rows"].items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Evaluation report</title><style>{STYLE}</style></head><body>
<h1>Evaluation report</h1>
<p>Every variant on one held-out test split ({rows}), asked with the best prompts
({escape(", ".join(f"{task}: {name}" for task, name in report["prompts"].items()))}).
{report["validation_rows"]:,} validation documents, by which a variant is chosen, stand beside them.</p>
<h2>Variants</h2><div class="scroll">{_table(variants, report["baseline"], baseline_name)}</div>
<p>Blue is the best of a column. The baseline was trained on {report["baseline"]["train_rows"]:,} documents and
reads them whole; the models see what the prompt shows of them.</p>
<h2>Size against accuracy</h2>{_pareto(variants, report["baseline"]["accuracy"])}
<p>Up and to the left is better. The dashed line joins the variants that no other one beats in both.</p>
<h2>By label: {escape(best)}</h2><div class="scroll">{_labels(variants[best]["per_label"])}</div>
<h2>Most frequent confusions: {escape(best)}</h2><div class="scroll">{_confusions(variants[best]["confusions"])}</div>
</body></html>
"""


def _table(variants: Mapping[str, Mapping[str, Any]], baseline: Mapping[str, Any], baseline_name: str) -> str:
    used = [column for column in COLUMNS if any(column[0] in values for values in variants.values())]
    head = "".join(f"<th>{title}</th>" for _, title, _, _ in used)
    lines = []
    for name, values in [*variants.items(), (baseline_name, baseline)]:
        cells = []
        for key, _, form, higher in used:
            known = [other[key] for other in variants.values() if key in other]
            top = values.get(key) == (max(known) if higher else min(known)) and values is not baseline
            text = form.format(values[key]) if key in values else "-"
            cells.append(f"<td{' class=best' if top else ''}>{text}</td>")
        mark = ' class="baseline"' if values is baseline else ""
        lines.append(f"<tr{mark}><td>{escape(name)}</td>{''.join(cells)}</tr>")
    return f"<table><thead><tr><th>variant</th>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def _labels(per_label: Mapping[str, Mapping[str, float]]) -> str:
    ranked = sorted(per_label.items(), key=lambda item: (-item[1]["support"], item[0]))
    lines = [
        f"<tr><td>{escape(label)}</td><td>{values['support']}</td><td>{values['precision']:.2f}</td>"
        f"<td>{values['recall']:.2f}</td><td>{values['f1']:.2f}</td>"
        f'<td class="wide"><span class="bar" style="width:{values["f1"]:.1%}"></span></td></tr>'
        for label, values in ranked
    ]
    return (
        "<table><thead><tr><th>label</th><th>documents</th><th>precision</th><th>recall</th><th>F1</th><th></th></tr>"
        f"</thead><tbody>{''.join(lines)}</tbody></table>"
    )


def _confusions(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = "".join(
        f"<tr><td>{escape(row['true'])}</td><td>{escape(row['predicted'] or '(no answer)')}</td>"
        f"<td>{row['count']}</td></tr>"
        for row in rows
    )
    return (
        f"<table><thead><tr><th>is</th><th>taken for</th><th>documents</th></tr></thead><tbody>{lines}</tbody></table>"
    )


def frontier(points: Mapping[str, tuple[float, float]]) -> list[str]:
    """The names that no other point beats: (size, accuracy), smaller and higher is better; by size."""
    found: list[str] = []
    for name, (_, accuracy) in sorted(points.items(), key=lambda item: (item[1][0], -item[1][1], item[0])):
        if not found or accuracy > points[found[-1]][1]:
            found.append(name)
    return found


def _pareto(variants: Mapping[str, Mapping[str, Any]], baseline: float) -> str:
    """An SVG: size in MB across, accuracy upwards, the baseline's accuracy as a dotted line."""
    width, height, left, right, top, bottom = 760, 340, 56, 150, 16, 44
    points = {name: (values["size_mb"], values["accuracy"]) for name, values in variants.items()}
    widest = max(size for size, _ in points.values()) * 1.08
    heights = [accuracy for _, accuracy in points.values()] + [baseline]
    low, high = max(0.0, min(heights) - 0.02), min(1.0, max(heights) + 0.02)

    def x(size: float) -> float:
        return round(left + size / widest * (width - left - right), 1)

    def y(accuracy: float) -> float:
        return round(height - bottom - (accuracy - low) / (high - low) * (height - top - bottom), 1)

    parts = []
    for step in range(5):
        level, size = low + (high - low) * step / 4, widest * step / 4
        parts.append(f'<line class="axis" x1="{left}" x2="{width - right}" y1="{y(level)}" y2="{y(level)}"/>')
        parts.append(f'<text class="tick" text-anchor="end" x="{left - 8}" y="{y(level) + 4}">{level:.1%}</text>')
        parts.append(
            f'<text class="tick" text-anchor="middle" x="{x(size)}" y="{height - bottom + 18}">{size:.1f}</text>'
        )
    parts.append(f'<line class="ruler" x1="{left}" x2="{width - right}" y1="{y(baseline)}" y2="{y(baseline)}"/>')
    parts.append(f'<text class="tick" x="{width - right + 8}" y="{y(baseline) + 4}">baseline</text>')
    front = " ".join(f"{x(points[name][0])},{y(points[name][1])}" for name in frontier(points))
    parts.append(f'<polyline class="front" points="{front}"/>')
    taken: list[tuple[float, float]] = []
    for name, (size, accuracy) in sorted(points.items(), key=lambda item: (item[1][0], item[1][1])):
        at = y(accuracy) + 4
        while any(abs(at - other) < 14 and abs(x(size) - across) < 130 for across, other in taken):
            at += 14  # labels of near points go below each other
        taken.append((x(size), at))
        parts.append(f'<circle class="dot" cx="{x(size)}" cy="{y(accuracy)}" r="5"/>')
        parts.append(f'<text x="{x(size) + 9}" y="{round(at, 1)}">{escape(name)}</text>')
    parts.append(
        f'<text class="tick" text-anchor="middle" x="{(left + width - right) / 2}" y="{height - 8}">size, MB</text>'
    )
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="size against accuracy">{"".join(parts)}</svg>'
