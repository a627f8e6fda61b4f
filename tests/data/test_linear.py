"""The cost of cleaning is linear in rows: work is counted, not timed."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from document_tables import captions, table

from llm_assets.data import decontaminate, dedup, label_errors
from llm_assets.data.clean import clean_batches
from llm_assets.data.config import CleanConfig
from llm_assets.data.waiting import Waiting

ROWS, TIMES = 500, 4
CONFIG = CleanConfig.model_validate(
    {
        "pii": {"enabled": True},
        "label_errors": {"enabled": True},
        "decontaminate": {"enabled": True, "ngram": 8},
        "labels": {"merge": "fingerprint"},
    }
)


def documents(count: int, words: list[str]) -> pa.Table:
    """Texts of random words that all end alike, as mails do; every tenth repeats most of an earlier one."""
    footer = "this message and what is attached to it is for those alone whom it is addressed to"
    rows: list[tuple[str | None, str | None]] = []
    for number in range(count):
        drawn = random.Random(number - number % 10 if number % 10 == 9 else number)
        text = " ".join(drawn.choices(words, k=120))
        rows.append((f"{'Again: ' * (number % 10 == 9)}{text}. {footer}", "ab"[number % 2]))
    return table(rows, split=None)


def work(raw: pa.Table, out: Path) -> Counter[str]:
    """What cleaning does in this process: calls of functions, rows it reads again, texts it compares."""
    found: Counter[str] = Counter()
    batches, pairs_of, reader = Waiting.batches, decontaminate.pairs_of, dedup.reader

    def counted_batches(waiting: Waiting, names: Any = None) -> Iterator[pa.RecordBatch]:
        for batch in batches(waiting, names):
            found["rows read"] += batch.num_rows
            yield batch

    def counted_pairs(*arguments: Any) -> Iterator[np.ndarray]:
        for pairs in pairs_of(*arguments):
            found["pairs"] += len(pairs)
            yield pairs

    def counted_reader(*arguments: Any) -> Callable[[int], np.ndarray]:
        grams = reader(*arguments)

        def counted(place: int) -> np.ndarray:
            found["near texts read"] += 1
            return grams(place)

        return counted

    def count(frame: Any, event: str, _: Any) -> None:
        found["calls"] += event in ("call", "c_call")

    out.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Waiting, "batches", counted_batches)
        patched.setattr(decontaminate, "pairs_of", counted_pairs)
        patched.setattr(dedup, "reader", counted_reader)
        patched.setattr(label_errors, "FIT_ROWS", ROWS // 4)
        sys.setprofile(count)
        try:
            totals = clean_batches(raw.to_batches(max_chunksize=ROWS // 10), raw.num_rows, out, CONFIG)
        finally:
            sys.setprofile(None)
    assert totals.reports["duplicates"].rejected > raw.num_rows / 20 and len(totals.reports) > 6
    return found


def test_four_times_the_rows_are_four_times_the_work(real_data: Path, tmp_path: Path) -> None:
    words = " ".join(captions(real_data, "val.en")).split()
    work(documents(ROWS // 10, words), tmp_path / "warm")  # what is done once in a process
    few, many = (work(documents(count, words), tmp_path / str(count)) for count in (ROWS, TIMES * ROWS))
    assert few["rows read"] > 3 * ROWS and few["calls"] > 20 * ROWS and few["near texts read"] > ROWS / 20
    grew = {what: many[what] / max(few[what], ROWS / 10) for what in many}
    assert all(times <= 1.1 * TIMES for times in grew.values()), grew
