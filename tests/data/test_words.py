"""Texts as columns of cells, words and n-grams, against the same told one text at a time."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from ftfy.badness import is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.data.cells import byte_counts, cells_of
from llm_assets.data.markup import looks_bad
from llm_assets.data.repetition import shares_of_ngrams
from llm_assets.data.words import split_words, words_of

BLANKS = "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
ODD = [*"ab .-ÃÂ€œ™àâéè°²³©«»“”–…ØÙВГРвЂβ√±‚Ä\xa0\x85─×", "the old man went to sea "]  # noqa: RUF001
TEXTS = st.lists(st.none() | st.text(st.sampled_from("ab#é字😀\x00\u200b" + BLANKS), max_size=12), max_size=8)


def test_blanks_are_those_of_python() -> None:
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    cut = np.diff(cells_of(pa.array([f"a{character}b" for character in every])).offsets) > 1
    assert "".join(np.array(every)[cut]) == "".join(sorted(BLANKS)) == "".join(filter(str.isspace, every))


@given(TEXTS, st.integers(0, 3))
def test_cells_are_what_lies_between_blanks(texts: list[str | None], skip: int) -> None:
    cells = cells_of(pa.array(texts, pa.string()).slice(skip))
    cells.strings.validate(full=True)
    texts = texts[skip:]
    parts = cells.strings.to_pylist()
    for row, text in enumerate(texts):
        mine = parts[cells.offsets[row] : cells.offsets[row + 1]]
        assert [part[:-1] for part in mine if part[:-1]] == (text or "").split()
        assert all(part[-1].isspace() for part in mine)
    assert cells.sizes().tolist() == [len(part.encode()) - len(part[-1].encode()) for part in parts]
    assert cells.per_row(cells.sizes() > 0).tolist() == [len((text or "").split()) for text in texts]
    assert byte_counts(pa.array(texts, pa.string()), ord("#")).tolist() == [(text or "").count("#") for text in texts]


@given(st.lists(st.text(st.sampled_from("ab "), max_size=60), max_size=6), st.integers(2, 5), st.integers(2, 5))
@settings(deadline=None)
def test_shares_of_repeated_ngrams_are_those_of_one_text_at_a_time(texts: list[str], top: int, again: int) -> None:
    """With limits of 0 nothing is left at its bound; with limits that no bound breaks, nothing is below the truth."""
    words = words_of(pa.array(texts, pa.string()))
    characters = np.array([max(len(text), 1) for text in texts])
    exact = shares_of_ngrams(words, {top: 0.0}, {again: 0.0}, characters)
    bounds = shares_of_ngrams(words, {top: 1e9}, {again: 1e9}, characters)
    for row, text in enumerate(texts):
        chunks = text.split()
        grams = [tuple(chunks[at : at + top]) for at in range(len(chunks) - top + 1)]
        most = max(Counter(grams).items(), key=lambda item: item[1], default=(("",), 0))  # the first of several
        assert exact[0][top][row] == pytest.approx((sum(map(len, most[0])) + top - 1) * most[1] / characters[row])
        seen, covered, at = set(), 0, 0
        while at + again <= len(chunks):
            gram = tuple(chunks[at : at + again])
            covered += sum(map(len, gram)) if gram in seen else 0
            at += again if gram in seen else 1
            seen.add(gram)
        assert exact[1][again][row] == pytest.approx(covered / characters[row])
        assert bounds[0][top][row] >= exact[0][top][row] - 1e-9
        assert bounds[1][again][row] >= exact[1][again][row] - 1e-9


@given(st.lists(st.sampled_from(ODD), max_size=9))
@settings(max_examples=500)
def test_mojibake_is_found_near_what_is_beyond_ascii(parts: list[str]) -> None:
    text = "".join(parts)
    assert looks_bad(text) == bool(is_bad(text))


def test_words_as_treebanks_split_them() -> None:
    assert split_words("(don't)") == ["(", "do", "n't", ")"]
    assert split_words("it's.") == ["it", "'s", "."]
    assert split_words("well-known,") == ["well", "-", "known", ","]
    assert split_words("Mr.") == ["Mr."]
    assert split_words("https://a.org/b,") == ["https://a.org/b", ","]
    found = words_of(pa.array(["One went. Two came!", None, "Dr. Who said no"]))
    assert found.counts.tolist() == [6, 0, 4]
    assert found.sentences().tolist() == [2, 0, 1]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["ox", "ant", "bee", "cow"]), max_size=14), max_size=6))
def test_ngrams_of_growing_size_are_those_of_each_size_alone(texts: list[list[str]]) -> None:
    words = words_of(pa.array([" ".join(text) for text in texts], pa.string()))
    for size, (start, hashes) in zip((2, 3, 5), words.ngrams([2, 3, 5]), strict=True):
        ((alone, same),) = words.ngrams([size])
        assert start.tolist() == alone.tolist() and hashes.tolist() == same.tolist()
        assert len(start) == sum(max(len(text) - size + 1, 0) for text in texts)
