"""The rows of a plan, in batches: those that stay, those that are made, and those that are left out."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.data.balance.plan import Plan
from llm_assets.data.reread import batches_at, batches_of
from llm_assets.data.rows import document_id, documents_table, joined_licence, text_hash
from llm_assets.data.spans import span_mix
from llm_assets.data.steps import rejected_rows, with_column

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_assets.data.reread import Documents

Row = dict[str, Any]
FEW = 64  # rows that are read to get one of them


def kept_batches(
    documents: Documents, plan: Plan, detail: Callable[[int], str]
) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
    """(rows that stay, with their weights; rows left out, with the reason), batch by batch. detail: of a row number."""
    import pyarrow as pa

    first = written = 0
    for batch in batches_of(documents):
        stays = plan.keep[first : first + batch.num_rows]
        out = np.flatnonzero(~stays)
        details = [detail(int(first + row)) for row in out]
        rejected = rejected_rows(
            batch.take(pa.array(out)),
            pa.array(["undersampled"] * len(out), pa.string()),
            pa.array(details, pa.string()),
        )
        kept = batch.filter(pa.array(stays))
        yield _weighted(kept, plan.weights[written : written + kept.num_rows]), rejected
        first, written = first + batch.num_rows, written + kept.num_rows


def made_batches(documents: Documents, plan: Plan, seed: int) -> Iterator[tuple[pa.RecordBatch, list[Row]]]:
    """(rows that are made, what each is made of: `Row`s of the originals), batch by batch."""
    if not len(plan.made.first):
        return
    written, first, at = int(plan.keep.sum()), 0, 0
    with _seconds(documents, np.unique(plan.made.second[plan.made.second >= 0])) as second_row:
        for batch in batches_of(documents):
            end = int(np.searchsorted(plan.made.first, first + batch.num_rows))
            while at < end:  # a row may be repeated often: what is made of a batch is written in parts
                part = slice(at, min(end, at + batch.num_rows))
                origins = batch.take(_places(plan.made.first[part] - first)).to_pylist()
                made = [_row(row, plan, number, second_row, seed) for number, row in enumerate(origins, part.start)]
                weights = plan.weights[written : written + len(made)]
                for each in documents_table(made).to_batches():
                    yield _weighted(each, weights), origins
                at, written = part.stop, written + len(made)
            first += batch.num_rows


def _row(row: Row, plan: Plan, number: int, second_row: Callable[[int], Row], seed: int) -> Row:
    """One row made: a repeat, or a mix of two, which has neither summary nor body."""
    copy, second = int(plan.made.copy[number]), int(plan.made.second[number])
    if second < 0:
        return _repeat(row, copy, plan.step)
    other, rng = second_row(second), random.Random(f"{seed}/{row['id']}/{copy}")
    text, _ = span_mix(row["text"] or "", other["text"] or "", float(plan.made.share[number]), rng)
    return _repeat(row, copy, "smote_mix") | {
        "text": text,
        "content_hash": text_hash(text),
        "parents": [row["id"], other["id"]],
        "licence": joined_licence(row["licence"], other["licence"]),
        "summary": None,
        "body": None,
    }


def _repeat(row: Row, copy: int, step: str) -> Row:
    uri = f"{row['uri']}+{step}{copy + 1}"
    identity = document_id(row["source"], uri + row["id"])
    return {**row, "id": identity, "uri": uri, "parents": [row["id"]], "steps": [*(row["steps"] or []), step]}


@contextmanager
def _seconds(documents: Documents, numbers: np.ndarray) -> Iterator[Callable[[int], Row]]:
    """A function: row number, one of `numbers` -> id, text and licence. The rows wait on disk, a few together."""
    import pyarrow as pa

    columns = ["id", "text", "licence"]
    with tempfile.TemporaryDirectory(prefix="llm-assets-balance-") as folder:
        path, starts = str(Path(folder) / "rows.arrow"), [0]
        schema = pa.schema([(name, pa.string()) for name in columns])
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, schema) as writer:
            for batch in batches_at(documents, numbers, columns) if len(numbers) else ():
                for place in range(0, batch.num_rows, FEW):
                    part = batch.slice(place, FEW)
                    writer.write_batch(pa.record_batch(part.columns, schema=schema))
                    starts.append(starts[-1] + part.num_rows)
        with pa.OSFile(path) as file, pa.ipc.open_file(file) as reader:

            def row_of(number: int) -> Row:
                place = int(np.searchsorted(numbers, number))
                block = int(np.searchsorted(starts, place, side="right")) - 1
                found: Row = reader.get_batch(block).slice(place - starts[block], 1).to_pylist()[0]
                return found

            yield row_of


def _weighted(batch: pa.RecordBatch, weights: np.ndarray) -> pa.RecordBatch:
    import pyarrow as pa

    return with_column(batch, "weight", pa.array(weights, pa.float32()))


def _places(values: np.ndarray) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.int64())
