"""Train rows that hold evaluation texts go: exactly those, and in bounded memory however many the texts are."""

from __future__ import annotations

import hashlib
import random
import tempfile
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from document_tables import captions, of_texts, table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.data import contamination, corpus_steps, decontaminate, evaluation_families, evaluation_texts
from llm_assets.data.clean import clean_batches, clean_table
from llm_assets.data.config import CleanConfig, DecontaminateConfig
from llm_assets.data.contamination import contaminated
from llm_assets.data.decontaminate import decontaminate_step
from llm_assets.data.evaluation_texts import Evaluation, evaluation_ngrams
from llm_assets.data.steps import apply_steps

QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
TEXT = st.lists(st.sampled_from(["ox", "ant", "bee", "cow", "dog"]), max_size=9).map(" ".join)


def grams(text: str, size: int) -> set[tuple[str, ...]]:
    words = text.split()
    return {tuple(words[i : i + size]) for i in range(max(len(words) - size + 1, 1))}


def test_contaminated_train_rows_go() -> None:
    held = "how many pumps does the station at the river need when the water rises by two metres in a day"
    evaluation = evaluation_ngrams(of_texts([held]).to_batches(), 8)
    texts = [
        f"Question: {held.upper()}? Answer: nine.",
        "Quite another text of the train split, about pumps and rivers.",
    ]
    step = decontaminate_step(evaluation, DecontaminateConfig(enabled=True, ngram=8))
    kept, rejected, _ = apply_steps([step], of_texts(texts, split="train"))
    assert kept["text"].to_pylist() == texts[1:]
    assert rejected["reason"].to_pylist() == ["contaminated"]
    assert "1.00 of the 8-grams" in rejected["detail"][0].as_py()
    assert apply_steps([step], of_texts(texts, split="test"))[0].num_rows == 2


def test_own_held_out_texts_are_not_trained_on() -> None:
    question = "what should the keeper of the lighthouse do when the lamp goes out in a storm at night"
    raw = table([(question, None), ("filler", None), (f"Once more, {question}, and then some of it.", None)])
    raw = raw.set_column(raw.schema.get_field_index("split"), "split", pa.array(["test", "train", "train"]))
    config = {"min_chars": 1, "near_duplicates": {"enabled": False}, "decontaminate": {"enabled": True, "ngram": 6}}
    kept, rejected = clean_table(raw, CleanConfig.model_validate(config))
    assert kept["split"].to_pylist() == ["test", "train"]
    assert rejected["reason"].to_pylist() == ["contaminated"]


@QUICK
@given(
    st.lists(TEXT, max_size=12),
    st.lists(TEXT, max_size=12),
    st.integers(2, 3),
    st.sampled_from([0, 0.2, 1 / 3, 0.5, 0.7, 1]),
    st.sampled_from([1, 2, 7, 2**20]),
    st.integers(1, 5),
    st.sampled_from([2, 3, 64]),
)
def test_what_goes_is_what_shares_enough_with_some_text(
    texts: list[str], held: list[str], ngram: int, threshold: float, most: int, size: int, common: int
) -> None:
    """Against sets of words, with whatever fits into memory, in batches of any size, whatever counts as common."""
    expected = {}
    for row, text in enumerate(texts):
        mine = grams(text, ngram)
        shares = [len(mine & theirs) / len(theirs) for theirs in (grams(other, ngram) for other in held)]
        best = max(shares, default=0)
        if best > 0 and best >= threshold:
            expected[3 * row] = (best, shares.index(best))
    config = DecontaminateConfig(ngram=ngram, threshold=threshold)
    column = pa.array(texts, pa.string())
    batches = [
        (np.arange(first, min(first + size, len(texts))) * 3, column.slice(first, size))
        for first in range(0, len(texts), size)
    ]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(contamination, "BITMAP_BITS", 12)  # so that it lets others through
        patched.setattr(evaluation_texts, "COMMON", common)
        evaluation = evaluation_ngrams(of_texts(held).to_batches(max_chunksize=size), ngram)
        found = contaminated(lambda: batches, evaluation, config, Path(folder), most)
    rows = zip(found.rows.tolist(), found.shares.tolist(), found.owners.tolist(), strict=True)
    assert {row: (share, owner) for row, share, owner in rows} == expected


TEMPLATES = [[f"t{n}w{word}" for word in range(9)] for n in range(3)]


@QUICK
@given(st.data(), st.sampled_from([0.2, 0.5, 0.7]), st.sampled_from([1, 7, 2**20]))
def test_texts_of_one_template_are_told_apart(data: st.DataObject, threshold: float, most: int) -> None:
    """Of a template each text has all, or the beginning, and words of its own; train texts have parts of both."""

    def some(own: int) -> str:
        template = data.draw(st.sampled_from(TEMPLATES))[: data.draw(st.sampled_from([9, 9, 6]))]
        ending = data.draw(st.lists(st.integers(0, 5), max_size=6))
        cut = data.draw(st.sampled_from([0, 0, 2, 5])) if own else 0
        return " ".join([*template[cut:], *(f"own{word}" for word in ending)])

    held, texts = [some(0) for _ in range(12)], [some(1) for _ in range(8)]
    expected = {}
    for row, text in enumerate(texts):
        shares = [len(grams(text, 2) & theirs) / len(theirs) for theirs in (grams(other, 2) for other in held)]
        if max(shares) >= threshold:
            expected[row] = (max(shares), shares.index(max(shares)))
    config = DecontaminateConfig(ngram=2, threshold=threshold)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(contamination, "BITMAP_BITS", 12)
        patched.setattr(evaluation_texts, "COMMON", 3)
        evaluation = evaluation_ngrams(of_texts(held).to_batches(), 2)
        rows = [(np.arange(len(texts)), pa.array(texts))]
        found = contaminated(lambda: rows, evaluation, config, Path(folder), most)
    assert dict(zip(found.rows.tolist(), zip(found.shares, found.owners, strict=True), strict=True)) == expected


@QUICK
@given(st.data(), st.sampled_from([0.2, 0.5, 0.7]), st.sampled_from([1, 7, 2**20]), st.sampled_from([1, 20, 2**20]))
def test_texts_of_different_parts_of_one_are_told_apart(
    data: st.DataObject, threshold: float, most: int, together: int
) -> None:
    """Each text has some parts of one text, in their order, and words of its own; whatever is held together."""
    parts = [" ".join(f"p{part}w{word}" for word in range(4)) for part in range(5)]

    def some() -> str:
        chosen = data.draw(st.sets(st.integers(0, 4), min_size=1))
        return " ".join([parts[part] for part in sorted(chosen)] + [f"own{data.draw(st.integers(0, 9))}"])

    held, texts = [some() for _ in range(12)], [some() for _ in range(8)]
    expected = {}
    for row, text in enumerate(texts):
        shares = [len(grams(text, 2) & theirs) / len(theirs) for theirs in (grams(other, 2) for other in held)]
        if max(shares) >= threshold:
            expected[row] = (max(shares), shares.index(max(shares)))
    config = DecontaminateConfig(ngram=2, threshold=threshold)
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(contamination, "BITMAP_BITS", 12)
        patched.setattr(evaluation_texts, "COMMON", 3)
        patched.setattr(evaluation_families, "MOST", together)
        evaluation = evaluation_ngrams(of_texts(held).to_batches(), 2)
        rows = [(np.arange(len(texts)), pa.array(texts))]
        found = contaminated(lambda: rows, evaluation, config, Path(folder), most)
    assert dict(zip(found.rows.tolist(), zip(found.shares, found.owners, strict=True), strict=True)) == expected


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_texts_of_different_parts_of_one_are_not_compared_in_pairs(
    threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worst case: each text has ten of twenty parts, and shares some with every evaluation text. Four times
    the texts are no more than four times the pairs that are compared, and the n-grams that are read for it."""
    parts, work = [" ".join(f"p{part}w{word}" for word in range(12)) for part in range(20)], []

    def made() -> str:
        chosen = sorted(rng.sample(range(20), 10))
        return " ".join([parts[part] for part in chosen] + [f"own{rng.randrange(10**6)}" for _ in range(6)])

    for texts in (200, 800):
        rng = random.Random(5)
        held = [made() for _ in range(texts)]
        evaluation = evaluation_ngrams(of_texts(held).to_batches(), 5)
        assert len(evaluation.heads) > 0.9 * texts
        counts = {"pairs": 0, "n-grams": 0}
        pairs_of, ngrams = decontaminate.pairs_of, Evaluation.ngrams

        def counted_pairs(*arguments, counts=counts, pairs_of=pairs_of):
            for pairs in pairs_of(*arguments):
                counts["pairs"] += len(pairs)
                yield pairs

        def counted_ngrams(self, first, end, counts=counts, ngrams=ngrams):
            found = ngrams(self, first, end)
            counts["n-grams"] += len(found)
            return found

        train = [made() for _ in range(texts - 1)] + [held[texts // 2]]
        with monkeypatch.context() as patched:
            patched.setattr(decontaminate, "pairs_of", counted_pairs)
            patched.setattr(Evaluation, "ngrams", counted_ngrams)
            step = decontaminate_step(evaluation, DecontaminateConfig(ngram=5, threshold=threshold))
            _, rejected, _ = apply_steps([step], of_texts(train, split="train"))
        assert "1.00" in rejected["detail"][rejected.num_rows - 1].as_py()
        work.append(counts)
    assert all(work[1][name] <= 4.1 * work[0][name] for name in work[0]), work
    assert work[1]["pairs"] < 800 * 800 / 10, work  # they share an n-gram that few have


@pytest.mark.parametrize("template_words", [130, 170])
def test_texts_made_alike_cost_no_more_than_others(template_words: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every train text has the template of every evaluation text, half of it or more: the pairs compared, and the
    n-grams read for it, are as many as there are texts, not as many as there are pairs."""
    template, work = [f"word{n}" for n in range(template_words)], []

    def made(own: int) -> str:
        return " ".join([*template, *(f"own{rng.randrange(10**6)}" for _ in range(own))])

    for texts in (200, 800):
        rng = random.Random(3)
        held = [made(120) for _ in range(texts)]
        train = [made(60) for _ in range(texts - 1)] + [held[texts // 2]]
        evaluation = evaluation_ngrams(of_texts(held).to_batches(), 5)
        counts = {"pairs": 0, "n-grams": 0}
        pairs_of, ngrams = decontaminate.pairs_of, Evaluation.ngrams

        def counted_pairs(*arguments, counts=counts, pairs_of=pairs_of):
            for pairs in pairs_of(*arguments):
                counts["pairs"] += len(pairs)
                yield pairs

        def counted_ngrams(self, first, end, counts=counts, ngrams=ngrams):
            found = ngrams(self, first, end)
            counts["n-grams"] += len(found)
            return found

        with monkeypatch.context() as patched:
            patched.setattr(decontaminate, "pairs_of", counted_pairs)
            patched.setattr(Evaluation, "ngrams", counted_ngrams)
            step = decontaminate_step(evaluation, DecontaminateConfig(ngram=5, threshold=0.5))
            kept, rejected, _ = apply_steps([step], of_texts(train, split="train"))
        work.append(counts)
        reached = template_words > 4 + 0.5 * (template_words + 120 - 4)
        assert rejected.num_rows == (texts if reached else 1) and kept.num_rows + rejected.num_rows == texts
        assert rejected["detail"][rejected.num_rows - 1].as_py().startswith("1.00")
    assert 0 < work[0]["pairs"] < 210 and all(work[1][name] <= 4.1 * work[0][name] for name in work[0]), work


def test_cleaning_writes_the_same_whatever_fits_into_memory(real_data: Path, tmp_path: Path) -> None:
    texts, rng = captions(real_data, "val.en"), random.Random(3)
    joined = [f"{text} {rng.choice(texts)} {rng.choice(texts)}" for text in texts]
    raw = of_texts(joined)
    config = {"near_duplicates": {"enabled": False}, "decontaminate": {"enabled": True, "ngram": 5, "threshold": 0.3}}
    digests = []
    for most in (contamination.MOST, 300):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(corpus_steps, "contaminated", partial(contaminated, most=most))
            out = tmp_path / str(most)
            out.mkdir()
            totals = clean_batches(
                raw.to_batches(max_chunksize=100), raw.num_rows, out, CleanConfig.model_validate(config)
            )
        assert 20 < totals.reports["decontaminate"].rejected < len(texts) / 2
        digests.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()})
    assert digests[0] == digests[1] and len(digests[0]) == 2


def test_memory_does_not_grow_with_the_evaluation_texts(tmp_path: Path) -> None:
    """Four times the evaluation texts, of which nearly all n-grams lie on disk. The less of two measurements counts:
    the interpreter's own table of names (of pathlib, say) grows by 4 MB at some moment, once."""
    config, peaks = DecontaminateConfig(ngram=5, threshold=0.5), []

    def some(first: int) -> list[str]:
        rng = random.Random(first)
        return [" ".join(f"w{rng.randrange(5000)}" for _ in range(120)) for _ in range(200)]

    for blocks in (4, 4, 16, 16):
        folder = tmp_path / str(len(peaks))
        folder.mkdir()
        held = (of_texts(some(block)).to_batches()[0] for block in range(blocks))
        train = [(np.arange(200) + 200 * block, pa.array(some(block + 2))) for block in range(4)]
        with (folder / "grams").open("w+b") as grams_file, pytest.MonkeyPatch.context() as patched:
            patched.setattr(contamination, "BITMAP_BITS", 20)
            patched.setattr(evaluation_texts, "BLOCK", 2**14)  # which both numbers of texts exceed
            tracemalloc.start()
            evaluation = evaluation_ngrams(held, 5, grams_file)
            _, before = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            found = contaminated(partial(iter, train), evaluation, config, folder, most=2000)
            peaks.append((before, tracemalloc.get_traced_memory()[1]))
            tracemalloc.stop()
        assert len(found.rows) == (400 if blocks == 4 else 800)
        assert (found.shares == 1).all()
    index = 12 * 12 * 200 * 116 // 2  # bytes by which one in memory would have grown
    small, large = (np.min(peaks[first : first + 2], axis=0) for first in (0, 2))
    assert (large - small < index / 4).all(), peaks
