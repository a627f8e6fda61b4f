"""Augmentation, balancing and the profile of small tables."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import write_table
from llm_assets.data.augment import OPERATIONS, augment_documents, augment_table, augment_text
from llm_assets.data.balance import balance_documents, balance_table
from llm_assets.data.clean import clean_documents
from llm_assets.data.config import AugmentConfig, BalanceConfig, CleanConfig
from llm_assets.data.profile import profile_documents
from llm_assets.data.rows import documents_table, text_hash
from llm_assets.data.thesaurus import synonyms


def documents(counts: dict[str, int], split: str | None = "train"):
    sentence = "return the first value of a large array and check every error before you start to build"
    words = sentence.split()
    rows = []
    for label, count in counts.items():
        for n in range(count):
            rng = random.Random(f"{label}{n}")
            text = " ".join(rng.sample(words, 12) + [f"{label}{rng.random():.6f}" for _ in range(6)])
            rows.append(
                {
                    "id": text_hash(f"{label}{n}"), "text": text, "label": label, "split": split, "weight": 1.0,
                    "source": "test", "uri": f"test:{label}{n}", "licence": "MIT", "content_hash": text_hash(text),
                    "parents": [], "steps": [],
                }
            )  # fmt: skip
    return documents_table(rows)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 99), st.floats(0.05, 0.5))
def test_operations_do_what_they_say(operation: str, seed: int, alpha: float) -> None:
    text = "Return the first value of a large array, and check every error before the end."
    changed = augment_text(text, operation, alpha, random.Random(seed))  # type: ignore[arg-type]
    assert changed == augment_text(text, operation, alpha, random.Random(seed))  # type: ignore[arg-type]
    if changed is None:
        assert operation == "swap"  # two equal words, or back again
        return
    before, after = text.split(), changed.split()
    count = max(1, round(alpha * len(before)))
    if operation == "swap":
        assert Counter(before) == Counter(after)
    elif operation == "delete":
        assert len(after) == len(before) - count
        assert not Counter(after) - Counter(before)
    elif operation == "insert":
        assert len(before) < len(after) <= len(before) + count
        assert not Counter(before) - Counter(after)
    else:
        assert len(after) == len(before)
        assert 1 <= sum(a != b for a, b in zip(before, after, strict=True)) <= count


def test_thesaurus_is_symmetric() -> None:
    known = synonyms()
    assert len(known) > 700
    assert all(word in known[other] for word, others in known.items() for other in others)


def test_augmented_rows_keep_label_and_name_their_parent() -> None:
    table = documents({"a": 60, "b": 20})
    config = AugmentConfig(share=0.5, copies=2)
    made = augment_table(table, config, seed=3)
    assert made.equals(augment_table(table, config, seed=3))
    assert not made.equals(augment_table(table, config, seed=4))
    rows = {row["id"]: row for row in made.to_pylist()}
    assert len(rows) == made.num_rows > table.num_rows
    added = [row for row in rows.values() if row["parents"]]
    for row in added:
        parent = rows[row["parents"][0]]
        assert (row["label"], row["licence"], row["split"]) == (parent["label"], parent["licence"], "train")
        assert row["text"] != parent["text"]
        assert row["steps"][-1] in OPERATIONS
    # A row is augmented alike whatever is beside it.
    alone = augment_table(table.slice(0, 10), config, seed=3).to_pylist()
    assert {row["id"] for row in alone} <= set(rows)


def test_held_out_rows_are_not_augmented() -> None:
    assert augment_table(documents({"a": 9}, split="test"), AugmentConfig(share=1)).num_rows == 0


def test_weights_favour_rare_labels_and_average_one() -> None:
    table = balance_table(documents({"a": 400, "b": 25}), BalanceConfig(method="weights", power=0.5))
    weights = table["weight"].to_numpy()
    assert weights.mean(dtype="float64") == pytest.approx(1, abs=1e-6)
    assert weights[-1] / weights[0] == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize(("power", "expected"), [(0, 25), (0.5, 100), (1.0, 200)])
def test_oversampling_goes_as_far_as_the_power_says(power: float, expected: int) -> None:
    table = documents({"a": 400, "b": 25})
    made = balance_table(table, BalanceConfig(method="oversample", power=power), seed=1)
    counts = Counter(made["label"].to_pylist())
    assert counts == {"a": 400, "b": expected}  # 1.0 is held back by max_factor 8
    ids = made["id"].to_pylist()
    assert len(set(ids)) == len(ids)
    assert {parent for parents in made["parents"].to_pylist() for parent in parents} <= set(table["id"].to_pylist())


def test_none_changes_nothing() -> None:
    table = documents({"a": 4, "b": 2})
    assert balance_table(table, BalanceConfig(method="none")).equals(table)


def test_profile_counts_every_step(tmp_path: Path) -> None:
    names = ("raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents")
    folders = {name: tmp_path / name for name in (*names, "profile")}
    for folder in folders.values():
        folder.mkdir()
    write_table(documents({"a": 120, "b<script>": 60}, split=None), folders[names[0]] / "documents.parquet")
    clean_documents(folders[names[0]], folders[names[1]], CleanConfig())
    augment_documents(folders[names[1]], folders[names[2]], AugmentConfig(share=1))
    balance_documents(folders[names[2]], folders[names[3]], BalanceConfig())
    summary = profile_documents({name: folders[name] for name in names}, folders["profile"])
    for name in ("lost_rows", "split_overlap", "held_out_in_train", "orphans", "mismatched_share"):
        assert summary.metrics[name] == 0, name
    report = json.loads((folders["profile"] / "report.json").read_text())
    assert report["steps"]["raw_documents"]["rows"] == 180
    for step in report["steps"].values():
        for column in step["columns"].values():
            assert column["valid"] + column["mismatched"] + column["missing"] == step["rows"]
    page = (folders["profile"] / "report.html").read_text()
    assert "<script" not in page and "://" not in page
