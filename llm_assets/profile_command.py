"""`llm-assets profile`: what is in a table, in the terminal and as a page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.text import Text

QUALITY = (("valid", "█", "green"), ("mismatched", "▓", "red"), ("missing", "░", "bright_black"))
WIDTH = 16


def profile(
    table: Annotated[Path, typer.Argument(help="A .parquet, .csv, .tsv or .jsonl file.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the page (HTML, one file) here.")] = None,
    header: Annotated[bool, typer.Option(help="Whether the first line of a CSV or TSV file names the columns.")] = True,
    delimiter: Annotated[str | None, typer.Option(help="Between the fields of a CSV or TSV file; else told.")] = None,
) -> None:
    """What is in each column of a table: type, valid, mismatched and missing values, and rules for the recipe."""
    from rich.markup import escape

    from llm_assets.data.profile_page import table_page
    from llm_assets.data.profile_suggest import suggestions
    from llm_assets.data.profile_table import profile_file
    from llm_assets.terminal import console

    with console.status(f"reading {escape(table.name)}") as state:
        report = profile_file(
            table,
            header=header,
            delimiter=delimiter,
            progress=lambda done, total, note="": state.update(f"reading {escape(table.name)}: {note}"),
        )
    source: dict[str, Any] = {"paths": [str(table)]}
    if not header:
        source["columns"] = list(report["columns"])
    report["suggestions"] = suggestions(report, source=source)
    show(report)
    if output:
        partial = output.with_name(output.name + ".partial")
        partial.write_text(table_page(report, table.name), encoding="utf-8")
        partial.replace(output)
        console.print(f"The page is in {output}", markup=False, soft_wrap=True)


def show(report: Mapping[str, Any]) -> None:
    """The report as a table with a bar a column, then what is suggested."""
    from rich.table import Table
    from rich.text import Text

    from llm_assets.terminal import console

    console.print(
        f"{report['rows']:,} rows, {len(report['columns'])} columns, {report['duplicate_rows']:,} duplicate rows"
        + "".join(f"; {count:,} lines not read: {reason}" for reason, count in report["unread"].items()),
        markup=False,
        soft_wrap=True,
    )
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("column", "type"):
        shown.add_column(title, no_wrap=True, overflow="ellipsis", max_width=28)
    shown.add_column("quality", no_wrap=True, min_width=WIDTH)
    for title in ("mismatched", "missing", "distinct"):
        shown.add_column(title, justify="right")
    if wide := console.width >= 110:
        shown.add_column("most frequent, or range", overflow="ellipsis", no_wrap=True, max_width=60)
    for name, column in report["columns"].items():
        numbers = (f"{column[key]:,}" for key in ("mismatched", "missing", "distinct"))
        glance = [Text(_glance(column))] if wide else []
        shown.add_row(Text(name), column["type"], _bar(column), *numbers, *glance)
    console.print(shown)
    for item in report["suggestions"][:12]:
        console.print()
        console.print(f"{item['title']} ({item['rows']:,} rows)", style="bold", markup=False, soft_wrap=True)
        console.print(item["why"], markup=False, soft_wrap=True)
        if item["recipe"]:
            console.print(item["recipe"].rstrip(), style="cyan", markup=False, soft_wrap=True)
    if len(report["suggestions"]) > 12:
        console.print(f"\n{len(report['suggestions']) - 12} more are on the page (-o page.html).")


def _bar(column: Mapping[str, Any]) -> Text:
    """Shares of the three kinds in WIDTH characters; a kind that is there at all is seen."""
    from rich.text import Text

    total = max(column["rows"], 1)
    cells = {kind: max(round(WIDTH * column[kind] / total), int(column[kind] > 0)) for kind, _, _ in QUALITY}
    largest = max(cells, key=lambda kind: cells[kind])
    cells[largest] += WIDTH - sum(cells.values())
    return Text.assemble(*[(mark * cells[kind], colour) for kind, mark, colour in QUALITY])


def _glance(column: Mapping[str, Any]) -> str:
    if column["numbers"]:
        return f"{column['numbers']['min']:g} to {column['numbers']['max']:g}, median {column['numbers']['median']:g}"
    if column["type"] in ("text", "list", "object") and column["lengths"]:
        low, middle, high = (f"{column['lengths'][key]:,.0f}" for key in ("min", "median", "max"))
        return f"{low} to {high} characters, median {middle}"
    if column["patterns"] and column["type"] != "category":
        return f"{column['patterns'][0][0]} ({column['patterns'][0][1]:,})"
    return ", ".join(f"{' '.join(text.split())} ({count:,})" for text, count in column["top"][:3])
