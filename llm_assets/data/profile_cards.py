"""The parts of the profile's page: a column's card, bars, tables. All text from data is escaped here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from llm_assets.data.profile_histograms import OTHERS
from llm_assets.data.profile_patterns import pattern_regex

SHOWN = 7  # bars of a card
QUALITY = ("valid", "mismatched", "missing")
RANGES = ("characters", "years", "values, in ranges", "elements a list")
NUMBERS = ("min", "p01", "q1", "median", "q3", "p99", "max", "mean")
TITLES = {"p01": "1%", "q1": "25%", "q3": "75%", "p99": "99%"}


def column_card(name: str, column: Mapping[str, Any]) -> str:
    """A column as Trifacta shows it: the quality bar over the histogram, and what stands behind both to unfold."""
    words = [f"{column['valid'] / max(column['rows'], 1):.1%} valid"]
    if column["mismatched"]:
        words.append(f"{column['mismatched']:,} mismatched")
    if column["missing"]:
        words.append(f"{column['missing']:,} missing{' (optional)' if column['optional'] else ''}")
    words.append(f"{column['distinct']:,} distinct")
    return (
        f'<article class="card"><div class="head"><h3>{escape(name)}</h3><span class="kind">{escape(column["type"])}'
        f"</span></div>{quality_bar(column)}<small>{escape(', '.join(words))}</small>{_histogram(column)}"
        f"<details><summary>What is behind it</summary><p><small>{escape(column['because'])}; stored as "
        f"{escape(column['stored_as'] or 'nothing')}.</small></p>{_details(column)}</details></article>"
    )


def quality_bar(counts: Mapping[str, Any]) -> str:
    """Valid, mismatched and missing as one bar; its numbers are in its label, for those who do not see it."""
    total = max(sum(counts[kind] for kind in QUALITY), 1)
    label = ", ".join(f"{kind} {counts[kind]:,} ({counts[kind] / total:.1%})" for kind in QUALITY)
    parts = "".join(
        f'<span class="{kind}" style="width:{100 * counts[kind] / total:.2f}%"></span>'
        for kind in QUALITY
        if counts[kind]
    )
    return f'<div class="quality" role="img" aria-label="{label}" title="{label}">{parts}</div>'


def bars(pairs: Sequence[Sequence[Any]]) -> str:
    """One row a name: a bar and its number."""
    if not pairs:
        return ""
    most = max((count for _, count in pairs), default=0) or 1
    rows = "".join(
        f'<tr><td>{shown(name)}</td><td>{_bar(count, most)}</td><td class="n">{number(count)}</td></tr>'
        for name, count in pairs
    )
    return f'<table class="bars">{rows}</table>'


def _bar(count: float, most: float) -> str:
    return f'<div style="width:{100 * count / most:.1f}%"></div>' if count else ""


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table; numbers to the right."""
    if not rows:
        return ""
    numeric = [all(_is_number(row[place]) for row in rows) for place in range(len(head))]
    marks = [' class="n"' if right else "" for right in numeric]
    top = "".join(f'<th scope="col"{mark}>{escape(title)}</th>' for title, mark in zip(head, marks, strict=True))
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{mark}>{shown(value) if isinstance(value, str) else number(value)}</td>"
            for value, mark in zip(row, marks, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _is_number(value: Any) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"[0-9.,]+%", value) is not None


def suggestion_card(item: Mapping[str, Any]) -> str:
    recipe = f"<pre>{escape(item['recipe'].rstrip())}</pre>" if item["recipe"] else ""
    return (
        f'<article class="card"><div class="head"><h3>{marked(item["title"])}</h3>'
        f'<span class="rows">{item["rows"]:,} rows</span></div><p><small>{marked(item["why"])}</small></p>{recipe}'
        "</article>"
    )


def marked(words: str) -> str:
    """Our own sentences: names in back ticks become code, after everything is escaped."""
    return re.sub("`([^`]*)`", r"<code>\1</code>", escape(words))


def shown(text: Any, limit: int = 160) -> str:
    """Text from data as text: escaped, cut, and control characters made visible."""
    plain = str(text)
    plain = plain if len(plain) <= limit else plain[: limit - 1] + "…"
    plain = "".join(
        mark if mark.isprintable() or mark == " " else "␤" if mark == "\n" else "·" if mark in "\t\r\x1f" else "\ufffd"
        for mark in plain
    )
    return escape(plain) if plain.strip() else "<small>(blank)</small>"


def number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _histogram(column: Mapping[str, Any]) -> str:
    pairs = column["histogram"]
    if not pairs:
        return ""
    if column["histogram_of"] not in RANGES:
        others = str(pairs[-1][0]).startswith(OTHERS)
        named = pairs[:-1] if others else pairs
        rest = sum(count for _, count in pairs) - sum(count for _, count in named[:SHOWN])
        if column["histogram_of"] == "patterns":
            rest = column["rows"] - column["missing"] - sum(count for _, count in named[:SHOWN])
        distinct = column["pattern_count" if column["histogram_of"] == "patterns" else "distinct"]
        words = f"other {column['histogram_of']}: {distinct - SHOWN:,}, in {rest:,} rows"
        return bars(named[:SHOWN]) + (f"<small>{words}</small>" if rest and distinct > SHOWN else "")
    most = max(count for _, count in pairs) or 1
    drawn = "".join(f'<i title="{escape(str(name))}: {count:,}"{_height(count, most)}></i>' for name, count in pairs)
    label = f"Rows by {column['histogram_of']}: " + "; ".join(f"{name}: {count:,}" for name, count in pairs)
    first, last = str(pairs[0][0]).split(" to ")[0], str(pairs[-1][0]).split(" to ")[-1]
    return (
        f'<div class="columns" role="img" aria-label="{escape(label)}">{drawn}</div>'
        f'<div class="ends"><span>{escape(first)}</span><span>{escape(column["histogram_of"])}</span>'
        f"<span>{escape(last)}</span></div>"
    )


def _height(count: int, most: int) -> str:
    return f' style="height:{max(100 * count / most, 2):.1f}%"' if count else ' class="none"'


def _details(column: Mapping[str, Any]) -> str:
    parts = []
    if column["numbers"] or column["lengths"]:
        what = "Numbers" if column["numbers"] else "Length, characters"
        values = column["numbers"] or column["lengths"]
        listed = "".join(f"<dt>{TITLES.get(key, key)}</dt><dd>{number(values[key])}</dd>" for key in NUMBERS)
        parts.append(f'<p><b>{what}</b></p><dl class="four">{listed}</dl>')
    if column["examples"]:
        parts.append("<p><b>Mismatched</b></p>" + table(("value", "rows"), column["examples"]))
    if column["outliers"]:
        out = column["outliers"]
        shown_values = ", ".join(number(value) for value in out["examples"])
        parts.append(
            f"<p><b>Outliers</b></p><p><small>{out['count']:,} {out['of']} outside {number(out['low'])} to "
            f"{number(out['high'])}, such as {escape(shown_values)}.</small></p>"
        )
    if column["patterns"]:
        parts.append(
            f"<p><b>Patterns</b> <small>{column['pattern_count']:,} in all</small></p>"
            + table(("pattern", "such as", "rows"), [[mark, text, count] for mark, count, text in column["patterns"]])
            + f"<p><small>The first as a rule: <code>{escape(pattern_regex(column['patterns'][0][2]))}</code></small>"
            "</p>"
        )
    if column["top"]:
        parts.append("<p><b>Most frequent</b></p>" + table(("value", "rows"), column["top"]))
    if column["spellings"]:
        rows = [[label, item["keep"], count] for item in column["spellings"] for label, count in item["merge"]]
        parts.append("<p><b>Spellings of one label</b></p>" + table(("found", "most likely", "rows"), rows[:40]))
    notes = [
        (column["spaces"], "values begin or end with white space"),
        (column["unclean"], "values hold control or replacement characters"),
        (sum(count for _, count in column["placeholders"]), "values are words for a missing one"),
        *((count, f"values hold {what}") for what, count in column["holding"].items()),
    ]
    listed = "".join(f"<dt>{count:,}</dt><dd>{escape(what)}</dd>" for count, what in notes if count)
    return "".join(parts) + (f"<dl>{listed}</dl>" if listed else "")
