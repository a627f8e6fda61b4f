"""The profile as one page that needs nothing beside it: no script, no font, no address."""

from __future__ import annotations

from html import escape
from typing import Any

TITLES = {
    "raw_documents": "Raw",
    "cleaned_documents": "Cleaned",
    "augmented_documents": "Augmented (train)",
    "balanced_documents": "Balanced (train)",
}
STYLE = """
:root{color-scheme:light dark;--ground:#fbfbf9;--card:#fff;--ink:#1c2024;--soft:#5f6870;--line:#e2e4e0;--valid:#2f8f6b;
--mismatched:#c8442f;--missing:#b9bec2;--bar:#4a7fb5}
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--card:#1c2024;--ink:#e8eaec;--soft:#9aa4ac;--line:#30363b;
--valid:#46b68b;--mismatched:#e8705c;--missing:#59626a;--bar:#6fa3d8}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 20px 64px}h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;
margin:40px 0 12px}h3{font-size:14px;margin:0;overflow-wrap:anywhere}p{margin:4px 0;color:var(--soft)}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(270px,1fr));gap:14px;align-items:start}
.card{background:var(--card);border:1px solid var(--line);border-radius:8px;padding:14px}
.flow{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:14px;margin:20px 0}
.flow b{display:block;font-size:24px;font-variant-numeric:tabular-nums}
.quality{display:flex;height:9px;border-radius:4px;overflow:hidden;margin:8px 0 4px;background:var(--line)}
.valid{background:var(--valid)}.mismatched{background:var(--mismatched)}.missing{background:var(--missing)}
small{color:var(--soft);font-size:12.5px}.key i{display:inline-block;width:10px;height:10px;border-radius:2px;
margin:0 5px 0 14px}table{width:100%;table-layout:fixed;border-collapse:collapse;margin-top:8px;font-size:12.5px}
td{padding:1px 0;vertical-align:middle}td:first-child{width:52%;padding-right:8px;overflow-wrap:anywhere}
td:last-child{text-align:right;width:56px;font-variant-numeric:tabular-nums;color:var(--soft)}
.bar{height:10px;background:var(--bar);border-radius:2px;min-width:1px}
"""


def profile_page(report: dict[str, Any]) -> str:
    """HTML of a report of `profile_documents`."""
    steps = report["steps"]
    flow = "".join(
        f'<div class="card"><small>{escape(TITLES.get(name, name))}</small><b>{step["rows"]:,}</b>'
        f"<small>{_changes(step['changes'])}</small></div>"
        for name, step in steps.items()
    )
    checks = [[name.replace("_", " "), count] for name, count in report["checks"].items()]
    sections = "".join(
        f'<section><h2>{escape(TITLES.get(name, name))}</h2><div class="grid">'
        + "".join(_column(title, column) for title, column in step["columns"].items())
        + "</div></section>"
        for name, step in steps.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1"><title>Data profile</title>'
        f"<style>{STYLE}</style></head><body><main><h1>Data profile</h1>"
        "<p>Rows after each step, and what each column holds.</p>"
        '<p class="key"><i class="valid" style="margin-left:0"></i>valid<i class="mismatched"></i>mismatched'
        f'<i class="missing"></i>missing</p><div class="flow">{flow}</div>'
        f'<div class="grid"><div class="card"><h3>Rejected, by reason</h3>{_bars(_pairs(report["rejected"]))}</div>'
        f'<div class="card"><h3>Must be zero</h3>{_bars(checks)}</div></div>'
        f"{sections}</main></body></html>\n"
    )


def _changes(changes: dict[str, int]) -> str:
    return escape(", ".join(f"{name} {count:,}" for name, count in changes.items()) or "as found")


def _pairs(counts: dict[str, int]) -> list[list[Any]]:
    return [[name, count] for name, count in counts.items()]


def _column(name: str, column: dict[str, Any]) -> str:
    total = max(column["valid"] + column["mismatched"] + column["missing"], 1)
    parts = "".join(
        f'<span class="{kind}" style="width:{100 * column[kind] / total:.2f}%" title="{kind}: {column[kind]:,}"></span>'
        for kind in ("valid", "mismatched", "missing")
    )
    words = [f"{column['valid'] / total:.1%} valid"]
    if column["mismatched"]:
        words.append(f"{column['mismatched']:,} mismatched, such as {column['examples'][0]!r}")
    if column["missing"]:
        words.append(f"{column['missing']:,} missing{' (optional)' if column['optional'] else ''}")
    words.append(f"{column['distinct']:,} distinct")
    return (
        f'<div class="card"><h3>{escape(name)}</h3><div class="quality">{parts}</div>'
        f"<small>{escape(', '.join(words))}</small>{_bars(column['histogram'])}</div>"
    )


def _bars(pairs: list[list[Any]]) -> str:
    if not pairs:
        return ""
    most = max((count for _, count in pairs), default=0) or 1
    rows = "".join(
        f'<tr><td>{escape(str(name))}</td><td><div class="bar" style="width:{100 * count / most:.1f}%"></div></td>'
        f"<td>{count:,}</td></tr>"
        for name, count in pairs
    )
    return f"<table>{rows}</table>"
