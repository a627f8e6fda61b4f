"""What the serving benchmark counts: the closed loop, its figures, and who is compared with whom."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.serving.compare import bars, best
from benchmarks.serving.workload import PROMPT_TOKENS, Cell, Sample, drive_batches, drive_steps, measure


def test_prompts_are_distinct_and_the_same_for_every_engine():
    prompts = Cell(4, 8).prompts(1000)
    assert prompts == Cell(4, 8).prompts(1000)
    assert [len(prompt) for prompt in prompts] == [PROMPT_TOKENS] * 8
    beginnings = {
        tuple(prompt[:16]) for cell in (Cell(4, 8), Cell(8, 8), Cell(4, 8, 1)) for prompt in cell.prompts(1000)
    }
    assert len(beginnings) == 24


def test_a_client_asks_again_when_its_request_has_ended():
    running: dict[int, int] = {}
    most: list[int] = []

    def step() -> list[tuple[int, int]]:
        most.append(len(running))
        told = []
        for number in running:
            running[number] += 1
            told.append((number, running[number]))
        return told

    def end(number: int) -> None:
        del running[number]

    samples = drive_steps([[1], [2], [3], [4], [5]], 2, lambda number, _: running.update({number: 0}), step, end, 3)
    assert [sample.ids for sample in samples] == [[1, 2, 3]] * 5
    assert set(most[:-3]) == {2} and set(most[-3:]) == {1}


def test_static_batches_take_the_prompts_in_turn():
    samples = drive_batches([[1], [2], [3]], 2, lambda prompts: iter([[prompt[0] for prompt in prompts]] * 2))
    assert [sample.ids for sample in samples] == [[1, 1], [2, 2], [3, 3]]


def test_figures_of_known_arrivals():
    samples = [Sample(10.0, [10.1, 10.2, 10.4], tokens=3), Sample(10.0, [10.3, 10.4, 11.0], tokens=3)]
    figures = measure(samples)
    assert figures == pytest.approx(
        {
            "tokens_per_second": 6.0,
            "ttft_p50_ms": 300,
            "ttft_p95_ms": 300,
            "between_p50_ms": 200,
            "between_p95_ms": 600,
        }
    )


def test_the_best_of_rounds_is_each_figures_own():
    rounds = [{"tokens_per_second": 5.0, "ttft_p95_ms": 9.0}, {"tokens_per_second": 7.0, "ttft_p95_ms": 11.0}]
    assert best(rounds) == {"tokens_per_second": 7.0, "ttft_p95_ms": 9.0}


def test_ours_is_compared_with_the_best_peer_of_its_precision():
    def cell(name: str, group: str, speed: float, first: float) -> dict:
        figures = {"tokens_per_second": speed, "ttft_p95_ms": first}
        return {"model": "m", "name": name, "group": group, "concurrency": 4, "best": figures}

    cells = [
        cell("llm-assets", "int8", 120, 10),
        cell("fast", "int8", 100, 20),
        cell("prompt", "int8", 50, 9),
        cell("other", "int4", 900, 1),
    ]
    throughput, first = bars(cells)
    assert (throughput.found, throughput.met) == (pytest.approx(1.2), True)
    assert (first.found, first.met) == (pytest.approx(10 / 9), False)
