"""The profile as one page that needs nothing beside it: no script, no font, no address."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from llm_assets.data.data_card import card_page
from llm_assets.data.profile_cards import QUALITY, bars, column_card, quality_bar, suggestion_card
from llm_assets.data.profile_style import STYLE

TITLES = {
    "raw_documents": "Raw",
    "cleaned_documents": "Cleaned",
    "augmented_documents": "Augmented (train)",
    "balanced_documents": "Balanced (train)",
}
KEY = (
    '<p class="key soft"><i class="valid"></i>valid<i class="mismatched"></i>mismatched'
    '<i class="missing"></i>missing</p>'
)


def table_page(report: Mapping[str, Any], name: str) -> str:
    """HTML of the profile of one table; report: `profile_file` with `suggestions`."""
    columns = report["columns"]
    facts = [("rows", report["rows"]), ("columns", len(columns)), ("duplicate rows", report["duplicate_rows"])]
    if report["unread"]:
        facts.append(("lines not read", sum(report["unread"].values())))
    cards = "".join(f'<div class="card"><small>{escape(what)}</small><b>{count:,}</b></div>' for what, count in facts)
    unread = (
        f'<h2>Lines that are no rows</h2><div class="card">{bars(list(report["unread"].items()))}</div>'
        if report["unread"]
        else ""
    )
    return _page(
        f"Profile of {name}",
        f'<div class="flow">{cards}</div>{quality_bar(totals(columns))}{KEY}{_rules(report)}'
        f'<h2>Columns</h2><div class="grid">{_cards(columns)}</div>{_findings(report)}{unread}',
    )


def profile_page(report: Mapping[str, Any]) -> str:
    """HTML of a report of `profile_documents`: the data card, every step before and after, suggestions, checks."""
    steps = report["steps"]
    flow = "".join(
        f'<div class="card"><small>{escape(TITLES.get(name, name))}</small><b>{step["rows"]:,}</b>'
        f"{quality_bar(totals(step['columns']))}<small>{_changes(step['changes'])}</small></div>"
        for name, step in steps.items()
    )
    checks = [[name.replace("_", " "), count] for name, count in report["checks"].items()]
    sections = "".join(
        f'<details class="step"{" open" if name == "cleaned_documents" else ""}>'
        f"<summary>{escape(TITLES.get(name, name))} <small>{step['rows']:,} rows</small></summary>"
        f'<div class="grid">{_cards(step["columns"])}</div></details>'
        for name, step in steps.items()
    )
    return _page(
        "Data profile",
        f'<p class="soft">Rows after each step, and what each column holds.</p><div class="flow">{flow}</div>{KEY}'
        f"{_rules(report)}{_findings(report)}<h2>What the steps did</h2>"
        f'<div class="grid wide"><div class="card"><h3>Rejected, by reason</h3>{bars(list(report["rejected"].items()))}'
        f'</div><div class="card"><h3>Must be zero</h3>{bars(checks)}</div></div>'
        f"<h2>Data card</h2>{card_page(report['card'])}{sections}",
    )


def totals(columns: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """Valid, mismatched and missing values over all columns; missing ones that may be missing count as valid."""
    found = {kind: sum(column[kind] for column in columns.values()) for kind in QUALITY}
    optional = sum(column["missing"] for column in columns.values() if column["optional"])
    return {**found, "valid": found["valid"] + optional, "missing": found["missing"] - optional}


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"""
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
        f"{body}</main></body></html>\n"
    )


def _rules(report: Mapping[str, Any]) -> str:
    rules = [item for item in report["suggestions"] if item["recipe"]]
    return "<h2>Suggested for the recipe</h2>" + _grid(rules) if rules else ""


def _findings(report: Mapping[str, Any]) -> str:
    found = [item for item in report["suggestions"] if not item["recipe"]]
    rest = f"<details><summary>{len(found) - 6} more</summary><p></p>{_grid(found[6:])}</details>" if found[6:] else ""
    return "<h2>Worth a look</h2>" + _grid(found[:6]) + rest if found else ""


def _grid(items: list[Mapping[str, Any]]) -> str:
    return f'<div class="grid wide">{"".join(suggestion_card(item) for item in items)}</div>'


def _cards(columns: Mapping[str, Mapping[str, Any]]) -> str:
    return "".join(column_card(name, column) for name, column in columns.items())


def _changes(changes: Mapping[str, int]) -> str:
    return escape(", ".join(f"{name} {count:,}" for name, count in changes.items()) or "as found")
