"""The monitoring report: `report.json` for programs, `report.html` (one file, no network) and a `Summary`
for people.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.artifacts import REPORT, Summary, write_json
from llm_assets.monitoring.config import MonitoringConfig
from llm_assets.monitoring.measure import Measured, feedback_of
from llm_assets.monitoring.rules import evaluate, reasons

if TYPE_CHECKING:
    import pandas as pd

HTML_REPORT = "report.html"
ROLLING = 50


def write_report(measured: Measured, settings: MonitoringConfig, out: Path, log_state: str) -> Summary:
    """Judge what was measured by the rules, and write it into `out`. log_state: the traffic log it was made
    from.
    """
    metrics, window = measured.metrics, measured.window
    fired = evaluate(settings.rules, metrics, measured.noise)
    why = reasons(fired)
    warnings = [finding.text for finding in fired if finding.rule.action == "warn"]
    report: dict[str, Any] = {
        "metrics": metrics,
        "noise": measured.noise,
        "degraded": bool(why),
        "reasons": why,
        "findings": [
            {
                "metric": f.rule.metric,
                "value": f.value,
                "bound": f.bound,
                "samples": f.samples,
                "action": f.rule.action,
            }
            for f in fired
        ],
        "window": {
            "requests": int(window["count"].sum()),
            "first": str(window["at"].iloc[0]) if len(window) else None,
            "last": str(window["at"].iloc[-1]) if len(window) else None,
            "log": log_state,
        },
        "accuracy_per_label": measured.per_label,
        "probes": measured.probes,
        "rules": [rule.model_dump(mode="json") for rule in settings.rules],
    }
    write_json(report, out / REPORT)
    summary = Summary(
        metrics={
            **metrics,
            "accuracy": metrics.get("feedback_accuracy", metrics.get("canary_accuracy", 0.0)),
            "degraded": bool(why),
            "reasons": ", ".join(why),
            "warnings": "; ".join(warnings),
            "warning_count": len(warnings),
        },
        curves=_curves(window),
        bars=_bars(measured),
        samples=_wrong(window),
        note=_note(fired, metrics),
    )
    (out / HTML_REPORT).write_text(_page(summary, report), encoding="utf-8")
    return summary


def _curves(window: pd.DataFrame) -> dict[str, list[tuple[float, float]]]:
    curves: dict[str, list[tuple[float, float]]] = {}
    times = window.loc[window["status"] == 200, "latency_ms"].astype(float).to_numpy()
    if len(times) > 1:
        edges = np.array_split(np.arange(len(times)), min(60, len(times)))
        curves["Latency, ms, over the window's requests (median)"] = [
            (float(part[-1] + 1), float(np.median(times[part]))) for part in edges
        ]
    right = feedback_of(window)["right"].astype(float).to_numpy()
    if len(right) > 1:
        size = min(ROLLING, max(len(right) // 4, 1))
        means = np.convolve(right, np.ones(size) / size, mode="valid")
        curves[f"Accuracy by feedback, rolling over {size}"] = [
            (float(at + size), float(mean)) for at, mean in enumerate(means)
        ]
    return curves


def _bars(measured: Measured) -> dict[str, dict[str, float]]:
    metrics = measured.metrics

    def some(names: dict[str, str]) -> dict[str, float]:
        return {shown: float(metrics[name]) for name, shown in names.items() if name in metrics}

    bars = {
        "Accuracy": some(
            {
                "baseline_accuracy": "test (baseline)",
                "canary_accuracy": "canary probes",
                "feedback_accuracy": "people's feedback",
            }
        ),
        "Latency, ms": some({f"{kind}_p{q}_ms": f"{kind} p{q}" for kind in ("latency", "ttft") for q in (50, 95, 99)}),
        "Drift against the training texts": {
            **some({"drift_words": "words (PSI)", "drift_length": "length (PSI)", "drift_labels": "labels (JS)"}),
            **{f"chance alone: {name.removeprefix('drift_')}": value for name, value in measured.noise.items()},
        },
        "Accuracy by label (feedback)": measured.per_label,
    }
    return {title: values for title, values in bars.items() if values}


def _wrong(window: pd.DataFrame) -> list[dict[str, str]]:
    """The last replies that people called wrong."""
    judged = feedback_of(window)
    rows = judged[~judged["right"]].tail(10)
    return [
        {"text": str(row["text"])[:160], "reply": str(row["reply"]), "right answer": str(row["truth"])}
        for row in rows.to_dict("records")
    ]


def _note(fired: list[Any], metrics: dict[str, Any]) -> str:
    retrain = [finding.text for finding in fired if finding.rule.action == "retrain"]
    warn = [finding.text for finding in fired if finding.rule.action == "warn"]
    if retrain:
        return f"**Degraded**: {'; '.join(retrain)}." + (f" Also: {'; '.join(warn)}." if warn else "")
    if warn:
        return f"Not degraded, but look at: {'; '.join(warn)}."
    return f"As it should be, over {metrics['requests']} requests and {metrics['canary_samples']} canary probes."


def _page(summary: Summary, report: dict[str, Any]) -> str:
    from llm_assets.pictures import bar_chart, line_chart

    def picture(markdown: str) -> str:
        found = re.search(r"\((data:image/png;base64,[^)]+)\)", markdown)
        return f'<img alt="" src="{found.group(1)}">' if found else ""

    pictures = [picture(bar_chart(title, values)) for title, values in summary.bars.items()]
    pictures += [picture(line_chart(title, points)) for title, points in summary.curves.items()]
    state = "degraded" if report["degraded"] else "warning" if report["findings"] else "fine"
    numbers = "".join(
        f"<tr><td>{html.escape(name)}<td>{html.escape(_number(value))}"
        for name, value in sorted(summary.metrics.items())
        if value != ""
    )
    wrong = "".join("<tr>" + "".join(f"<td>{html.escape(value)}" for value in row.values()) for row in summary.samples)
    wrong = (
        f"<h2>Replies that people corrected</h2><table><tr><th>text<th>reply<th>right answer{wrong}</table>"
        if wrong
        else ""
    )
    note = html.escape(summary.note.replace("**", ""))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Monitoring report</title><style>'
        "body{font:15px/1.5 system-ui,sans-serif;color:#1f2733;max-width:960px;"
        "margin:32px auto;padding:0 18px}"
        "img{max-width:460px;width:100%;vertical-align:top;margin:4px}table{border-collapse:collapse;font-size:13px}"
        "td,th{border-bottom:1px solid #d5dae3;padding:3px 12px 3px 0;text-align:left;overflow-wrap:anywhere}"
        ".state{padding:10px 14px;border-radius:8px}.fine{background:#e5f4ea}.warning{background:#fdf3dc}"
        ".degraded{background:#fbe3e3}</style>"
        "<h1>Monitoring report</h1>"
        f"<p>Package <code>{html.escape(str(report['metrics']['champion']))}</code></p>"
        f'<p class="state {state}">{note}</p>{"".join(pictures)}{wrong}'
        f"<h2>Numbers</h2><table>{numbers}</table></html>\n"
    )


def _number(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else str(value)
