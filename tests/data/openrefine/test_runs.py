"""Runs on disk, merged: a stable sort, whatever is read and merged together."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.data.openrefine import runs
from llm_assets.data.openrefine.runs import Runs
from llm_assets.data.openrefine.values import EvalError

BESIDE = st.sampled_from(
    ["", "line\nbreak", "half \ud800", None, 2**70, 0.1, EvalError("no"), datetime(2020, 1, 2, tzinfo=UTC)]
)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), BESIDE), max_size=8), max_size=12),
    st.integers(1, 40),
    st.integers(2, 4),
)
def test_items_come_in_order_and_equal_ones_as_they_were_added(added, piece, together) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "PIECE_BYTES", piece)
        patched.setattr(runs, "TOGETHER", together)
        with Runs(lambda item: item[0], Path(name)) as waiting:
            for items in added:
                waiting.add(items)
            found = list(waiting.merged())
        flat = [list(item) for items in added for item in items]
        assert found == sorted(flat, key=lambda item: item[0])
        assert not list(Path(name).iterdir())


def test_a_file_that_is_read_while_it_is_merged_is_closed_afterwards(tmp_path: Path) -> None:
    with Runs(lambda item: item[0], tmp_path) as waiting:
        waiting.add([[2], [1]])
        merged = waiting.merged()
        assert next(merged) == [1]
    with Runs(lambda item: item[0], tmp_path) as waiting:
        assert list(waiting.merged()) == []
