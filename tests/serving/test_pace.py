"""How often rows tell: seldom enough for the model, together, and at once where it is their first token."""

from __future__ import annotations

import pytest

from llm_assets.serving.pace import MOMENT, holding, next_look
from llm_assets.serving.rows import Row
from llm_assets.serving.sampling import Sampling


def rows(count: int, streamed: bool = True) -> list[Row]:
    nobody = {"package": None, "prompt": [1], "sampling": Sampling(5), "deadline": 0.0, "emit": print}
    return [Row(index=at, streamed=streamed, **nobody) for at in range(count)]


def run(batch: list[Row], seconds: float, step: float) -> list[tuple[float, int]]:
    """(time, rows that told) of a model that takes `step` seconds for a token, told of as the lane does it."""
    told, now = [], 1.0
    while now < 1.0 + seconds:
        holds = holding(batch, now)
        for row, hold in zip(batch, holds, strict=True):
            row.first_token = row.first_token or now
            if not hold:
                row.looked = now
        if not all(holds):
            told.append((now, holds.count(False)))
        now += step
    return told


@pytest.mark.parametrize(("count", "looks"), [(1, 100), (4, 100), (8, 50), (16, 25)])
def test_all_tell_together_and_no_oftener_than_that(count, looks):
    told = run(rows(count), 2.0, 0.0001)
    assert {number for _, number in told} == {count}
    assert looks * 2 * 0.9 <= len(told) <= looks * 2 + 1


def test_rows_that_began_apart_tell_together_before_long():
    batch = rows(4)
    for at, row in enumerate(batch):
        row.first_token = row.looked = 0.95 + at / 100
    assert [number for _, number in run(batch, 0.5, 0.001)][-10:] == [4] * 10


def test_a_first_token_is_told_at_once_and_of_what_nobody_reads_no_other():
    reading, silent = rows(2), rows(2, streamed=False)
    assert holding([*reading, *silent], 1.0) == [False] * 4
    for row in (*reading, *silent):
        row.first_token = row.looked = 1.0
    assert holding([*reading, *silent], 1.001) == [True] * 4
    assert holding([*reading, *silent], 2.0) == [False, False, True, True]


def test_rows_are_looked_at_when_one_is_due_or_a_moment_has_passed():
    reading, silent = rows(1), rows(3, streamed=False)
    reading[0].looked = 1.0
    assert next_look([*reading, *silent], 1.005) == pytest.approx(1.01)
    assert next_look(silent, 1.005) == pytest.approx(1.005 + MOMENT)
