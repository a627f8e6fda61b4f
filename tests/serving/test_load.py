"""What the engine expects work to take, by what it saw."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from llm_assets.serving.load import COMPANY, Load, late, nearly_late, retry_after


def row(prompt: int, reply: int, past: int = 0) -> SimpleNamespace:
    return SimpleNamespace(prompt=[5] * prompt, sampling=SimpleNamespace(max_tokens=reply), past=past, deadline=30.0)


def saw(load: Load, tokens: int, each: float, steps: int) -> None:
    for _ in range(steps):
        load.did(tokens, tokens, each * tokens)


def test_nothing_is_expected_before_anything_is_known():
    load = Load(batch=16, read=256)
    assert load.takes(1000, 16) == 0
    saw(load, 1, 0.001, 100)
    assert load.seconds([row(10, 100)]) == 0, "too few steps say nothing"
    load.did(0, 0, 5.0)
    assert load.takes(1000, 1) == 0, "a step of nothing says nothing"


def test_a_token_costs_what_it_cost_in_steps_of_that_size():
    load = Load(batch=16, read=256)
    saw(load, 1, 0.004, 250)
    saw(load, 16, 0.001, 50)
    saw(load, 256, 0.0005, 4)
    assert load.takes(100, 1) == pytest.approx(0.4)
    assert load.takes(100, 16) == load.takes(100, 20) == pytest.approx(0.1)
    assert load.takes(100, 128) == pytest.approx(0.1), "the nearest that was seen"
    assert load.seconds([row(512, 10)]) == pytest.approx(512 * 0.0005 + 10 * 0.004)
    assert load.seconds([row(512, 10, past=512)] * 16) == pytest.approx(160 * 0.001)
    assert load.seconds([row(0, 10)], company=15) == pytest.approx(10 * 0.001)
    assert load.seconds([row(0, 10)] * 100) == pytest.approx(1000 * 0.001), "no more than a batch are decoded together"


def test_one_stream_says_little_of_sixteen():
    """A burst after one client's stream is not refused for what one token alone took."""
    load = Load(batch=16, read=256)
    saw(load, 1, 0.007, 300)
    assert load.takes(100, 16) == pytest.approx(100 * 0.007 * COMPANY)
    assert load.takes(100, 1) == pytest.approx(0.7)
    burst = [row(0, 128) for _ in range(16)]
    before = load.seconds(burst[:15])
    assert not load.too_late(before, 15, burst[15:], now=0.0)
    saw(load, 16, 0.05, 20)
    assert load.too_late(load.seconds(burst[:15]), 15, burst[15:], now=0.0), "what they take is known by now"


def test_many_say_what_one_takes_at_least():
    load = Load(batch=16, read=256)
    saw(load, 16, 0.001, 50)
    assert load.takes(100, 1) == pytest.approx(0.1)


def test_old_speeds_are_forgotten():
    load = Load(batch=16, read=256)
    saw(load, 1, 0.1, 20)
    assert load.takes(10, 1) == pytest.approx(1.0)
    saw(load, 16, 0.001, 2000)
    assert load.takes(10, 1) == load.takes(10, 16) == pytest.approx(0.01)


def test_replies_are_expected_to_be_as_long_as_they_were():
    load = Load(batch=1, read=256)
    saw(load, 1, 0.01, 200)
    for _ in range(200):
        load.finished(row(0, 100), 20)
    assert load.seconds([row(0, 100)]) == pytest.approx(0.2, rel=0.01)


def test_what_is_late():
    assert not late(0.0, 100.0, 1.0), "nothing is before it: it may try"
    assert late(1.0, 5.0, 10.0) and not late(1.0, 3.0, 10.0)
    assert nearly_late(0.46, 1.0) and not nearly_late(0.44, 1.0)
    assert [retry_after(before) for before in (0.0, 3.0, 1000.0)] == [1, 2, 30]
