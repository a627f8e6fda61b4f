"""Rows of tables in standard forms, mended and without duplicates, before they become documents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llm_assets.data.openrefine.files import arrow_table, record_part
from llm_assets.data.sources.config import Files
from llm_assets.data.sources.found import Found
from llm_assets.data.sources.tables import document_of
from llm_assets.data.tabular import StepReport, tidy_rows

STEP = "tidy"


def tidied(found: Iterator[Found], source: Files, root: Path, reports: list[StepReport]) -> Iterator[Found]:
    """The rows of `found` (whole records) as documents, after the steps of `source.tidy`, in their order.

    What the steps reject is a reject with their reason; a report of each goes to `reports`. What could not be read
    comes first. All rows are in memory: a date's order, a repair and a duplicate are judged by the whole table.
    """
    assert source.tidy is not None
    rows: list[Found] = []
    for item in found:
        if item.reason:
            yield item
        else:
            rows.append(item)
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row.text))
    tidy = tidy_rows(arrow_table([record_part([row.text for row in rows], names)]), source.tidy, root)
    reports += tidy.reports
    kept = dict(zip(tidy.numbers, tidy.table.to_pylist(), strict=True))
    for number, row in enumerate(rows):
        if number in kept:
            document = document_of(row.uri, kept[number], source)
            yield document._replace(steps=(STEP,)) if _differs(row.text, kept[number], source) else document
        else:
            reason, detail = tidy.gone[number]
            yield Found(row.uri, row.text.get(source.text_column), reason=reason, detail=detail, steps=(STEP,))


def _differs(before: dict[str, Any], after: dict[str, Any], source: Files) -> bool:
    """Whether text or label is another one."""
    columns = (source.text_column, source.label_column or source.text_column)
    return any((before.get(column) or None) != (after.get(column) or None) for column in columns)
