"""What a profile suggests: settings of the recipe where it has them, findings where it has not; most rows first.

A suggestion's `recipe` is YAML that can be pasted into a recipe; nothing is suggested that the recipe's own classes
would refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import ValidationError

from llm_assets.data.balance.config import NoBalance
from llm_assets.data.config import DataConfig, InstalledPackages
from llm_assets.data.profile_patterns import pattern_regex
from llm_assets.data.profile_policies import column_policies

Column = Mapping[str, Any]
LABEL_NAMES = ("label", "class", "category", "target", "intent", "topic", "team", "queue", "sentiment", "type")
TEXT_NAMES = ("text", "message", "body", "content", "description", "question", "comment", "document", "sentence")
PROSE = 0.3  # share of values of three words or more, or long, from which a column holds texts to learn from
EVEN = 3.0  # most frequent to rarest label: up to this, labels count as balanced


def roles(columns: Mapping[str, Column]) -> tuple[str | None, str | None]:
    """(column that holds the texts, column that holds their labels), as far as the profile tells."""
    texts = [name for name, found in columns.items() if found["type"] == "text" and found["prose"] >= PROSE]
    text = max(texts, key=lambda name: (_named(name, TEXT_NAMES), columns[name]["lengths"]["mean"]), default=None)
    labels = [
        name
        for name, found in columns.items()
        if found["type"] in ("category", "boolean") and 2 <= found["distinct"] <= max(2, found["rows"] // 5)
    ]
    label = max(
        labels,
        key=lambda name: (_named(name, LABEL_NAMES), -columns[name]["missing"], -columns[name]["distinct"], name),
        default=None,
    )
    return text, label


def suggestions(
    report: Mapping[str, Any],
    data: DataConfig | None = None,
    source: Mapping[str, Any] | None = None,
    documents: bool = False,
) -> list[dict[str, Any]]:
    """[{title, why, rows, recipe}] of the report of a table.

    data: the recipe's section that the table came out of (without it, the recipe's defaults are compared with);
    source: what a source of the recipe has to say to read the table (paths …), where it is none yet;
    documents: the table has the document schema, so it is known which column is what.
    """
    columns = report["columns"]
    text, label = ("text", "label") if documents else roles(columns)
    config = data or DataConfig(sources=[InstalledPackages(packages=[])])
    found = list(_findings(report))
    if source and text:
        found += _as_source(source, text, label, columns)
    found += _labels(columns["label"], config) if documents else _standard(columns)
    if text and columns[text]["lengths"]:
        found += _text_rules(text, columns[text], config)
    if text and label:
        found += _balance(label, columns[label], config)
        found += _augment(columns[label], config)
    order = sorted(found, key=lambda item: (not item["recipe"], -item["rows"], item["title"]))
    return [
        {**item, "recipe": yaml.safe_dump(item["recipe"], sort_keys=False, allow_unicode=True, width=100)}
        if item["recipe"]
        else {**item, "recipe": ""}
        for item in order
        if not item["recipe"] or accepted(item["recipe"])
    ]


def accepted(recipe: Mapping[str, Any]) -> bool:
    """Whether the recipe's classes take a `data` section that says this."""
    data = {"sources": [{"kind": "installed_packages", "packages": []}], **recipe["data"]}
    try:
        DataConfig.model_validate(data)
    except ValidationError:
        return False
    return True


def one_line(recipe: str) -> str:
    """The same YAML in one line."""
    return (
        yaml.safe_dump(yaml.safe_load(recipe), default_flow_style=True, sort_keys=False, width=10_000).strip()
        if recipe
        else ""
    )


def _suggest(title: str, why: str, rows: int, data: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"title": title, "why": why, "rows": rows, "recipe": {"data": data} if data else None}


def _as_source(
    origin: Mapping[str, Any], text: str, label: str | None, columns: Mapping[str, Column]
) -> Iterator[dict[str, Any]]:
    source: dict[str, Any] = {"kind": "files", **origin, "text_column": text}
    why = f"`{text}` holds the texts ({columns[text]['because']})"
    if label:
        source["label_column"] = label
        why += f", `{label}` their labels ({columns[label]['because']})"
    yield _suggest("Train on this table", f"{why}.", columns[text]["rows"], {"sources": [source]})


def _standard(columns: Mapping[str, Column]) -> Iterator[dict[str, Any]]:
    policies = column_policies(columns)
    if policies:
        shown = ", ".join(f"`{policy['column']}` ({changes:,})" for policy, changes in policies)
        yield _suggest(
            "Bring the columns into standard forms",
            f"Values that `llm-assets tidy-table` then changes, as does a source with the same under `tidy`: {shown}.",
            max(min(changes, columns[policy["column"]]["rows"]) for policy, changes in policies),
            {"table": {"standardise": [policy for policy, _ in policies]}},
        )


def _labels(column: Column, config: DataConfig) -> Iterator[dict[str, Any]]:
    if column["merging"] and config.clean.labels.merge == "none":
        rows = sum(count for item in column["spellings"] for _, count in item["merge"])
        shown = ", ".join(f"{label!r}" for item in column["spellings"][:4] for label, _ in item["merge"][:2])
        why = f"Spellings such as {shown} are most likely slips."
        yield _suggest("Merge spellings of one label", why, rows, {"clean": {"labels": {"merge": column["merging"]}}})


def _text_rules(name: str, column: Column, config: DataConfig) -> Iterator[dict[str, Any]]:
    lengths, present = column["lengths"], column["rows"] - column["missing"]
    clean = config.clean
    shorter = next((s for s, q in ((0.5, "median"), (0.25, "q1"), (0.05, "p05")) if lengths[q] < clean.min_chars), 0)
    if shorter:
        yield _suggest(
            f"Let short texts of `{name}` stay",
            f"At least {shorter:.0%} of the texts are shorter than min_chars, {clean.min_chars} characters, and would "
            f"be rejected; 99% have {lengths['p01']:.0f} or more.",
            math.ceil(shorter * present),
            {"clean": {"min_chars": max(1, int(lengths["p01"]))}},
        )
    beyond = column["outliers"]
    if beyond and lengths["max"] > 4 * lengths["p99"] and lengths["p99"] * 2 < clean.max_chars:
        yield _suggest(
            f"Reject texts of `{name}` of unusual length",
            f"99% have up to {lengths['p99']:,.0f} characters, the longest {lengths['max']:,.0f}.",
            int(beyond["count"]),
            {"clean": {"max_chars": max(round(lengths["p99"] * 2), clean.min_chars)}},
        )
    if lengths["max"] > clean.max_chars:
        yield _suggest(
            f"Long texts of `{name}` go",
            f"Texts of more than max_chars, {clean.max_chars:,} characters, are rejected; the longest has "
            f"{lengths['max']:,.0f}. Raise it to keep them.",
            1,
        )
    if count := column["holding"].get("an e-mail address"):
        yield _suggest(
            f"Redact personal data in `{name}`", f"{count:,} texts hold an e-mail address.", count,
            {"clean": {"pii": {"enabled": True}}},
        )  # fmt: skip
    if not clean.markup and (count := column["holding"].get("an HTML tag")):
        yield _suggest(
            f"Turn the markup in `{name}` into prose", f"{count:,} texts hold an HTML tag.", count,
            {"clean": {"markup": True}},
        )  # fmt: skip
    if column["placeholders"]:
        words = sorted({text.strip().lower() for text, _ in column["placeholders"]})
        pattern = rf"(?i)^\s*({'|'.join(re.escape(word) for word in words)})\s*$"
        yield _suggest(
            f"Reject texts of `{name}` that only say there is none",
            f"Texts such as {words[0]!r} stand for a missing value.",
            sum(count for _, count in column["placeholders"]),
            {"clean": {"rules": [{"pattern": pattern, "reject": "placeholder"}]}},
        )
    repeated = present - column["distinct"]
    if repeated and not clean.near_duplicates.enabled:
        yield _suggest(
            f"Drop near duplicates of `{name}`", f"{repeated:,} texts repeat another to the letter.", repeated,
            {"clean": {"near_duplicates": {"enabled": True}}},
        )  # fmt: skip


def _balance(name: str, column: Column, config: DataConfig) -> Iterator[dict[str, Any]]:
    counts = [count for _, count in column["histogram"]]
    complete = column["distinct"] == len(counts) or column["distinct"] <= len(column["top"])
    most = counts[0] if counts else 0
    least = column["rarest"]
    if most and least and most / least > EVEN:
        ratio = most / least
        power = min(1.0, math.ceil(20 * (1 - math.log(EVEN) / math.log(ratio))) / 20)
        factor = math.ceil(ratio**power)
        if isinstance(config.balance, NoBalance) or power > config.balance.power:
            rare = sum(count for count in counts if count * EVEN < most) if complete else column["rows"] - most
            after = ratio / min(ratio**power, factor)
            yield _suggest(
                f"Balance the labels of `{name}`",
                f"The most frequent label has {ratio:,.1f} times the rows of the rarest; like this they count "
                f"{after:.1f} : 1.",
                rare,
                {"balance": {"method": "weights", "power": power, "max_factor": float(factor)}},
            )


def _augment(column: Column, config: DataConfig) -> Iterator[dict[str, Any]]:
    rows = column["rows"] - column["missing"]
    copies, alpha = (16, 0.05) if rows <= 500 else (8, 0.05) if rows <= 2000 else (4, 0.1)
    if rows <= 5000 and (config.augment.share < 1 or (config.augment.copies or copies) < copies):
        yield _suggest(
            "Augment every training text",
            f"{rows:,} labelled rows are few; Wei and Zou (2019, table 3) recommend {copies} copies at alpha {alpha}.",
            rows,
            {"augment": {"share": 1.0, "copies": copies, "alpha": alpha}},
        )


def _findings(report: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What is wrong and has no setting of the recipe: for a table repair, or for the people the table is from."""
    if report["duplicate_rows"]:
        yield _suggest(
            "Rows that repeat another",
            f"{report['duplicate_rows']:,} rows are equal to one before them in every column.",
            report["duplicate_rows"],
        )  # fmt: skip
    padded = {name: column["spaces"] for name, column in report["columns"].items() if column["spaces"]}
    if padded:
        shown = ", ".join(f"`{name}` ({count:,})" for name, count in padded.items())
        most = max(padded.values())
        yield _suggest("Blanks around values", f"Values begin or end with white space in {shown}.", most)
    for name, column in report["columns"].items():
        if column["missing"] and not column["optional"]:
            share = f"{column['missing'] / column['rows']:.1%}"
            yield _suggest(f"Missing values in `{name}`", f"{share} of the rows have no value.", column["missing"])
        if column["mismatched"] and column["type"] != "text":
            shown = ", ".join(repr(text) for text, _ in column["examples"][:3])
            why = f"{column['mismatched']:,} values are not of type {column['type']}, such as {shown}."
            if column["patterns"] and column["patterns"][0][1] >= 0.8 * (column["rows"] - column["missing"]):
                why += f" The usual ones match {pattern_regex(column['patterns'][0][2])}"
            yield _suggest(f"Mismatched values in `{name}`", why, column["mismatched"])
        if column["spellings"]:
            merges = [f"{label!r} to {item['keep']!r}" for item in column["spellings"] for label, _ in item["merge"]]
            rows = sum(count for item in column["spellings"] for _, count in item["merge"])
            yield _suggest(
                f"One label spelt twice in `{name}`",
                f"{len(merges)} spellings are most likely slips: {', '.join(merges[:4])}{' …' * (len(merges) > 4)}",
                rows,
            )
        if column["placeholders"] and column["type"] != "text":
            shown = ", ".join(f"{text!r} ({count:,})" for text, count in column["placeholders"][:3])
            rows = sum(count for _, count in column["placeholders"])
            yield _suggest(f"Words for a missing value in `{name}`", f"{shown} may stand for no value.", rows)
        if column["type"] not in ("text", "category", "identifier") and column["outliers"]:
            beyond = column["outliers"]
            shown = ", ".join(f"{value:g}" for value in beyond["examples"][:4])
            what = "values" if beyond["of"] == "values" else "lengths"
            yield _suggest(
                f"Outliers in `{name}`",
                f"{beyond['count']:,} {what} are more than three interquartile ranges from the quartiles, such as "
                f"{shown}.",
                beyond["count"],
            )


def _named(name: str, names: tuple[str, ...]) -> int:
    """How well a column's name is one of `names`: its place from the end, 0 where it is none."""
    plain = name.strip().lower()
    return next((len(names) - place for place, known in enumerate(names) if known == plain), 0)
