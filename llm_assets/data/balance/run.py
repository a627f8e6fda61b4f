"""Give rare groups more say: weights that reach the loss, or rows made or left out.

With counts n_c, a group's share is moved from n_c to n_c^(1 - power): power 0 is what nature gave, 1 makes all equal.
The rows are scanned several times and never held: in memory are a few numbers of each (its group, its weight, what is
made of it), for topics and features a sample, and for SMOTE the features of 20,000 rows and 50,000 points at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import (
    DOCUMENTS,
    REJECTED,
    Progress,
    Summary,
    document_schema,
    no_progress,
    rejected_schema,
)
from llm_assets.data.balance.config import Balance
from llm_assets.data.balance.groups import find_groups
from llm_assets.data.balance.plan import make_plan
from llm_assets.data.balance.report import Balancing
from llm_assets.data.balance.write import kept_batches, made_batches
from llm_assets.data.rows import TableWriter

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_assets.data.reread import Documents

Write = Callable[["pa.RecordBatch"], None]


def balance_table(documents: pa.Table, config: Balance, seed: int = 0) -> pa.Table:
    """The rows with `weight` filled (mean 1), or with rows made or left out.

    A weight that a row already has (a share of a soft label) is multiplied, and its rows are counted by it.
    """
    import pyarrow as pa

    found: list[pa.RecordBatch] = []
    balance_batches(documents, config, found.append, lambda batch: None, seed)
    return pa.Table.from_batches(found, document_schema()).combine_chunks()


def balance_documents(
    augmented: Path,
    out: Path,
    config: Balance,
    seed: int = 0,
    progress: Progress = no_progress,
    workers: int | None = None,
) -> Summary:
    """Write `documents.parquet` with balanced groups, and `rejected.parquet`: what undersampling left out."""
    with (
        TableWriter(out / REJECTED, rejected_schema()) as rejected,
        TableWriter(out / DOCUMENTS, document_schema()) as documents,
    ):
        done = balance_batches(augmented / DOCUMENTS, config, documents.write, rejected.write, seed, progress, workers)
    return done.summary(config)


def balance_batches(
    documents: Documents,
    config: Balance,
    write: Write,
    reject: Write,
    seed: int = 0,
    progress: Progress = no_progress,
    workers: int | None = None,
) -> Balancing:
    """`balance_table` of any number of rows: batches go to `write` and `reject` as they are made. workers: as of
    `make_plan`."""
    clock = time.perf_counter
    started = clock()
    progress(0, 100, f"{config.method}: groups")
    groups = find_groups(documents, config, seed)
    grouped = clock()
    progress(20, 100, f"{config.method} over {len(groups.codes):,} rows")
    plan = make_plan(documents, groups, config, seed, workers)
    planned = clock()
    done, total = Balancing(groups, plan), max(1, len(plan.weights))
    for kept, rejected in kept_batches(documents, plan, done.group_of):
        write(kept)
        reject(rejected)
        done.kept(kept, rejected)
        progress(50 + 50 * done.rows / total, 100, f"{done.rows:,} rows")
    for made, origins in made_batches(documents, plan, seed):
        write(made)
        done.made(made, origins)
        progress(50 + 50 * done.rows / total, 100, f"{done.rows:,} rows")
    done.seconds = {"groups": grouped - started, "plan": planned - grouped, "write": clock() - planned}
    return done
