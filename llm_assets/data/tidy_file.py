"""The steps over a table from file to file, and what they did in the terminal."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.data.openrefine.files import arrow_part, format_of, make_folder, read_tables, write_tables
from llm_assets.data.openrefine.halves import UNICODE, reject_halves, without_halves
from llm_assets.data.openrefine.table import Table, table_of
from llm_assets.data.openrefine.typed import store_parts
from llm_assets.data.stored import Storing
from llm_assets.data.table_config import TableConfig
from llm_assets.data.tabular import StepReport, reasons, rejected_batches, tidy_rows, with_reasons
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import pyarrow as pa


def tidy_file(path: Path, out: Path, rejected: Path | None, config: TableConfig) -> list[StepReport]:
    """The steps from file to file, for tables larger than memory. Raises UserError where no step is given."""
    if config == TableConfig():
        raise UserError("data.table names no step; give openrefine, standardise, repair or deduplicate")
    for target in (out, rejected):
        if target is not None:
            format_of(target)
    make_folder(out)
    with tempfile.TemporaryDirectory(prefix=".tidy-", dir=out.parent) as name:
        folder = Path(name)
        with Storing(folder / "refused.arrow", reasons()) as refused:
            read = store_parts(_whole_parts(read_tables(path), refused), folder, "read")
        tidied = tidy_rows(read, config, Path.cwd(), folder, refused=refused.stored())
        write_tables(_parts((batch for _, batch in tidied.kept.batches()), tidied.kept.schema), out)
        if rejected is not None:
            write_tables(_parts(rejected_batches(read, tidied.gone), with_reasons(read.schema)), rejected)
    return tidied.reports


def print_steps(reports: list[StepReport]) -> None:
    """A line a step, its note, and some of what it changed."""
    from rich.table import Table
    from rich.text import Text

    from llm_assets.terminal import console

    shown = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("step", "rows in", "rows out", "changed", "seconds"):
        shown.add_column(title, justify="left" if title == "step" else "right")
    for report in reports:
        counts = (f"{count:,}" for count in (report.rows_in, report.rows_out, report.changed))
        shown.add_row(report.step, *counts, f"{report.seconds:.2f}")
    console.print(shown)
    for report in reports:
        if report.note:
            console.print(Text(f"{report.step}: {report.note}"), soft_wrap=True)
        for sample in report.samples[:5]:
            console.print(Text(f"  {sample['what']}: {sample['before']} -> {sample['after']}"), soft_wrap=True)


def _parts(batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> Iterator[Table]:
    """The batches as cell values; an empty part first, which says what the columns are."""
    yield table_of({name: [] for name in schema.names})
    first = 0
    for batch in batches:
        yield arrow_part(batch, first)
        first += batch.num_rows


def _whole_parts(parts: Iterator[Table], refused: Storing) -> Iterator[Table]:
    """The parts; `refused` is told of rows with a text that no file can hold."""
    for part in parts:
        whole, halves = without_halves(part)
        places = sorted(halves)
        reject_halves(refused, UNICODE, [part.origin[place] for place in places], [halves[place] for place in places])
        yield whole
