"""What proposes duplicates, and which of them stays."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import no_progress
from llm_assets.data.config import NearDuplicateConfig
from llm_assets.data.near_duplicates import LONG_BUCKET, near_duplicates, shared_buckets
from llm_assets.data.signatures import signatures

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.data(), st.integers(0, 90), st.integers(1, 4), st.sampled_from([0.3, 0.6, 1.0]))
def test_of_rows_that_share_a_band_and_are_alike_the_first_stays(
    data: st.DataObject, rows: int, bands: int, threshold: float
) -> None:
    keys = np.array(
        data.draw(st.lists(st.lists(st.integers(0, 12), min_size=rows, max_size=rows), min_size=bands, max_size=bands)),
        dtype=np.uint64,
    ).reshape(bands, rows)
    sets = data.draw(st.lists(st.frozensets(st.integers(0, 5), min_size=1), min_size=rows, max_size=rows))
    living = np.array(sorted(data.draw(st.sets(st.integers(0, max(rows - 1, 0))))) if rows else [], dtype=np.int64)

    expected: list[tuple[int, int]] = []
    buckets: dict[tuple[int, int], list[int]] = {}
    for place in living.tolist():
        mine = [(band, int(keys[band, place])) for band in range(bands)]
        others = (other for key in mine for other in buckets.get(key, []))
        alike = (o for o in others if len(sets[o] & sets[place]) / len(sets[o] | sets[place]) >= threshold)
        if (of := next(alike, None)) is not None:
            expected.append((place, of))
            continue
        for key in mine:
            if len(kept := buckets.setdefault(key, [])) < LONG_BUCKET:
                kept.append(place)

    shared = shared_buckets((band[living] for band in keys), living)
    grams = [np.array(sorted(each), dtype=np.uint64) for each in sets]
    found, of, similarity = near_duplicates(shared, grams.__getitem__, rows, threshold, no_progress)
    assert list(zip(found.tolist(), of.tolist(), strict=True)) == expected
    for row, other, share in zip(found.tolist(), of.tolist(), similarity.tolist(), strict=True):
        assert share == pytest.approx(len(sets[row] & sets[other]) / len(sets[row] | sets[other]))


@QUICK
@given(st.lists(st.text(st.sampled_from("aBé1“_- \x00"), max_size=14), max_size=6), st.integers(1, 6))
def test_texts_with_equal_first_letters_have_equal_starts(texts: list[str], size: int) -> None:
    config = NearDuplicateConfig(same_start=size)
    found = signatures(pa.array(texts, pa.string()), config).start.tolist()
    letters = ["".join(filter(str.isalnum, text.lower()))[:size] for text in texts]
    assert [start == 0 for start in found] == [len(start) < size for start in letters]
    pairs = {pair for pair in zip(letters, found, strict=True) if pair[1]}
    assert len(pairs) == len({start for start, _ in pairs}) == len({value for _, value in pairs})
