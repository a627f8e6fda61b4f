"""Cell values that waited on disk are what they were, to the last bit."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_assets.data.openrefine.collation import collation_key
from llm_assets.data.openrefine.spilled import dumps, loads
from llm_assets.data.openrefine.values import EvalError

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])
CELLS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.just("half \ud800 of a pair"),
    st.datetimes(timezones=ZONES).map(lambda time: time.replace(fold=0)), st.builds(EvalError, st.text()),
)  # fmt: skip


def known(cell: object) -> tuple[type, str]:
    return type(cell), repr(cell)  # 1, 1.0 and true are three values, and nan is one


@given(st.lists(CELLS))
def test_what_is_read_is_what_was_written(cells: list[object]) -> None:
    assert list(map(known, loads(dumps(cells)))) == list(map(known, cells))


def test_nothing_but_a_value_is_written() -> None:
    with pytest.raises(TypeError, match="cannot hold a set"):
        dumps([{1}])


@given(st.text(), st.booleans())
def test_a_sort_key_is_the_same_on_disk(text: str, case: bool) -> None:
    key = list(collation_key(text + "\ud7ff\ud800\udc00", case))
    assert loads(dumps(key)) == key
