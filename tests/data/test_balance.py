"""Balancing: by label and by topic, on small tables and on real ones."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from document_tables import banking, random_documents, sms, table
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import write_table
from llm_assets.data.balance import balance_documents, balance_table
from llm_assets.data.balance.config import NoBalance, Oversample, Smote, Undersample, Weights
from llm_assets.data.balance.factors import group_factors, kept_shares
from llm_assets.data.balance.smote import smote_features
from llm_assets.data.balance.topics import discover_topics

ROOT = Path(__file__).resolve().parents[2]
counts_of = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 5000), min_size=1)


def test_weights_favour_rare_labels_and_average_one() -> None:
    made = balance_table(random_documents({"a": 400, "b": 25}), Weights(power=0.5))
    weights = made["weight"].to_numpy()
    assert weights.mean(dtype="float64") == pytest.approx(1, abs=1e-6)
    assert weights[-1] / weights[0] == pytest.approx(4, rel=1e-5)


def test_effective_number_follows_its_formula() -> None:
    factors = group_factors({"a": 400, "b": 25}, Weights(scheme="effective_number", beta=0.99, max_factor=100))
    assert factors["b"] == pytest.approx((1 - 0.99**400) / (1 - 0.99**25))
    assert group_factors({"a": 400, "b": 25}, Weights(scheme="effective_number", beta=0))["b"] == 1


@settings(max_examples=100, deadline=None)
@given(counts_of, st.floats(0, 1), st.floats(1, 50))
def test_factors_never_turn_the_order_around(counts: dict[str, int], power: float, limit: float) -> None:
    config = Weights(power=power, max_factor=limit)
    factors, shares = group_factors(counts, config), kept_shares(counts, config)
    for one in counts:
        assert 1 <= factors[one] <= limit
        assert 1 / limit - 1e-9 <= shares[one] <= 1
        for other in counts:
            if counts[one] < counts[other]:
                assert counts[one] * factors[one] <= counts[other] * factors[other] * (1 + 1e-9)
                assert counts[one] * shares[one] <= counts[other] * shares[other] * (1 + 1e-9)


@pytest.mark.parametrize(("power", "expected"), [(0, 25), (0.5, 100), (1.0, 200)])
def test_oversampling_goes_as_far_as_the_power_says(power: float, expected: int) -> None:
    table = random_documents({"a": 400, "b": 25})
    made = balance_table(table, Oversample(power=power), seed=1)
    counts = Counter(made["label"].to_pylist())
    assert counts == {"a": 400, "b": expected}  # 1.0 is held back by max_factor 8
    ids = made["id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert {parent for parents in made["parents"].to_pylist() for parent in parents} <= set(table["id"].to_pylist())


@pytest.mark.parametrize(("power", "expected"), [(0, 400), (0.5, 100), (1.0, 50)])
def test_undersampling_goes_as_far_as_the_power_says(power: float, expected: int) -> None:
    table = random_documents({"a": 400, "b": 25})
    made = balance_table(table, Undersample(power=power), seed=1)
    assert Counter(made["label"].to_pylist()) == {"a": expected, "b": 25}
    # Who stays goes by the row itself: leaving another row out of the table changes one row at most.
    again = balance_table(table.slice(1), Undersample(power=power), seed=1)
    assert len(set(made["id"].to_pylist()) - set(again["id"].to_pylist())) <= 1


def test_none_changes_nothing() -> None:
    table = random_documents({"a": 4, "b": 2})
    assert balance_table(table, NoBalance()).equals(table)


def test_a_soft_labels_shares_are_kept_and_counted() -> None:
    pairs = [("one text of a", "a")] * 6 + [("one text of b", "b")] * 2
    soft = table(pairs)
    weights = [1.0] * 6 + [0.5, 1.5]
    soft = soft.set_column(
        soft.schema.get_field_index("weight"), soft.schema.field("weight"), pa.array(weights, pa.float32())
    )
    made = balance_table(soft, Weights(power=1.0))["weight"].to_pylist()
    assert made[7] / made[6] == pytest.approx(3)
    assert sum(made[6:]) == pytest.approx(sum(made[:6]))  # 6 : 2 in weight, made equal


def test_smote_lies_between_real_points_of_its_label() -> None:
    random = np.random.default_rng(0)
    points = np.vstack([random.normal(0, 1, (60, 3)), random.normal(9, 1, (6, 3)), [[50.0, 0, 0]]])
    labels = ["a"] * 60 + ["b"] * 6 + ["c"]
    made, of = smote_features(points, labels, {"a": 60, "b": 40, "c": 5}, neighbours=5, seed=3)
    assert Counter(of.tolist()) == {"a": 60, "b": 40, "c": 5}
    assert np.array_equal(made[:67], points)
    low, high = points[60:66].min(0), points[60:66].max(0)
    synthetic = made[67:][of[67:] == "b"]
    assert ((synthetic >= low - 1e-9) & (synthetic <= high + 1e-9)).all()
    assert (made[67:][of[67:] == "c"] == points[66]).all()  # one row has no neighbour


@pytest.mark.parametrize("rows", ["nearest_text", "span_mix"])
def test_smote_of_texts_makes_rows_of_real_ones(real_data, rows) -> None:
    pairs = [pair for pair in banking(real_data) if pair[1] in ("card_arrival", "card_linking", "age_limit")]
    few = [pair for pair in pairs if pair[1] == "age_limit"][:12]
    documents = table([pair for pair in pairs if pair[1] != "age_limit"] + few)
    config = Smote(rows=rows, max_factor=5)
    made = balance_table(documents, config, seed=2)
    assert made.equals(balance_table(documents, config, seed=2))
    assert Counter(made["label"].to_pylist())["age_limit"] == 60
    real = {row["id"]: row for row in documents.to_pylist()}
    added = made.slice(documents.num_rows).to_pylist()
    assert added and len({row["id"] for row in made.to_pylist()}) == made.num_rows
    for row in added:
        parents = [real[name] for name in row["parents"]]
        assert {parent["label"] for parent in parents} == {row["label"]}
        words = {word for parent in parents for word in parent["text"].split()}
        assert set(row["text"].split()) <= words
        assert row["text"] == parents[0]["text"] or row["steps"][-1] == "smote_mix"
    assert rows == "nearest_text" or sum(len(row["parents"]) == 2 for row in added) > len(added) / 2


def test_topics_are_found_without_labels(real_data, tmp_path) -> None:
    spam = [pair for pair in sms(real_data) if pair[1] == "spam"][:60]
    queries = [pair for pair in banking(real_data) if pair[1] in ("exchange_rate", "card_arrival")]
    truth = [label for _, label in spam + queries]
    unlabelled = table([(text, None) for text, _ in spam + queries])
    codes, names = discover_topics(unlabelled, 8, seed=5)
    topics = [names[code] for code in codes]
    agree = sum(max(Counter(t for t, g in zip(truth, topics, strict=True) if g == topic).values())
                for topic in set(topics))  # fmt: skip
    assert agree / len(truth) > 0.9
    write_table(unlabelled, tmp_path / "documents.parquet")
    (tmp_path / "out").mkdir()
    summary = balance_documents(tmp_path, tmp_path / "out", Oversample(), seed=5)
    assert summary.metrics["grouped_by"] == "topic"
    assert summary.metrics["imbalance_after"] < summary.metrics["imbalance_before"]
    assert {"Rows per topic", "Rows per topic, balanced", "Weight per topic"} == set(summary.bars)


def test_few_or_wordless_texts_are_one_topic() -> None:
    for texts in (["one", "two"], ["the and of"] * 40, ["same words here"] * 40):
        codes, names = discover_topics(table([(text, None) for text in texts]), 5)
        assert codes.tolist() == [0] * len(texts) and len(names) == 1


METHODS = [NoBalance(), Weights(), Oversample(), Undersample(), Smote(), Smote(rows="span_mix"), Oversample(by="topic")]


def all_methods(folder: Path) -> str:
    """The hash of what every method makes of one table."""
    documents = random_documents({"a": 90, "b": 30, "c": 8, "d": 1})
    write_table(documents, folder / "documents.parquet")
    found = hashlib.sha256()
    for number, config in enumerate(METHODS):
        out = folder / str(number)
        out.mkdir()
        summary = balance_documents(folder, out, config, seed=7)
        assert summary.metrics["mean_weight"] == pytest.approx(1, abs=1e-3)
        found.update((out / "documents.parquet").read_bytes())
    return found.hexdigest()


def test_equal_inputs_give_equal_bytes_in_another_process(tmp_path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import pathlib, test_balance; "
    code += f"print(test_balance.all_methods(pathlib.Path({str(tmp_path / 'there')!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == all_methods(tmp_path / "here")
