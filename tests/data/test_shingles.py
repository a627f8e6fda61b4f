"""Hashed words and n-grams are equal where the words are, and nowhere else."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.data.shingles import shingles, text_hashes, word_hashes

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(st.lists(st.text(alphabet="ab .-\n", max_size=12), min_size=1, max_size=8), st.integers(1, 4))
def test_hashed_ngrams_are_the_ngrams(texts: list[str], size: int) -> None:
    hashes, offsets = word_hashes(pa.array(texts))
    values, ends = shingles(hashes, offsets, size)
    whole = text_hashes(hashes, offsets)

    def grams(text: str) -> set[tuple[str, ...]]:
        words = text.replace(".", " ").replace("-", " ").split()
        return {tuple(words[i : i + size]) for i in range(max(len(words) - size + 1, 1))}

    for one in range(len(texts)):
        mine = set(values[ends[one] : ends[one + 1]].tolist())
        assert len(mine) == len(grams(texts[one]))
        for other in range(len(texts)):
            theirs = set(values[ends[other] : ends[other + 1]].tolist())
            assert len(mine & theirs) == len(grams(texts[one]) & grams(texts[other]))
            same = (
                texts[one].replace(".", " ").replace("-", " ").split()
                == texts[other].replace(".", " ").replace("-", " ").split()
            )
            assert (whole[one].tolist() == whole[other].tolist()) == same


@QUICK
@given(
    st.lists(
        st.one_of(st.none(), st.text(st.sampled_from("aAßé“ΣςﬁfiI1²_-,. \n\u0301\u00a0字"), max_size=12)), max_size=8
    )
)
def test_equal_words_but_no_others_have_equal_hashes(texts: list[str | None]) -> None:
    hashes, offsets = word_hashes(pa.array(texts, pa.string()))
    words = [[word for word in re.split(r"[\W_]+", (text or "").casefold()) if word] for text in texts]
    assert np.diff(offsets).tolist() == [len(found) for found in words]
    pairs = set(zip((word for found in words for word in found), hashes.tolist(), strict=True))
    assert len(pairs) == len({word for word, _ in pairs}) == len({value for _, value in pairs})
