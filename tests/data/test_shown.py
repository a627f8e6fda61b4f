"""What people are shown of augmentation and balancing: before and after, as it is in the tables."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path

import pytest
from document_tables import sms, table

from llm_assets.artifacts import read_table, write_table
from llm_assets.data.augment import augment_documents
from llm_assets.data.augment.config import AugmentConfig, CutMix, Edit
from llm_assets.data.balance import balance_documents
from llm_assets.data.balance.config import Balance, NoBalance, Oversample, Smote, Undersample, Weights


def folders(real_data: Path, folder: Path) -> tuple[Path, Path]:
    """(600 messages for training, an empty folder)."""
    source, out = folder / "in", folder / "out"
    source.mkdir()
    out.mkdir()
    write_table(table(sms(real_data)[:600]), source / "documents.parquet")
    return source, out


@pytest.mark.parametrize(
    "config",
    [NoBalance(), Weights(power=1), Oversample(), Undersample(), Smote(), Smote(rows="span_mix")],
    ids=lambda config: f"{config.method} {getattr(config, 'rows', '')}".strip(),
)
def test_the_picture_of_balancing_is_of_the_tables(config: Balance, real_data: Path, tmp_path: Path) -> None:
    source, out = folders(real_data, tmp_path)
    summary = balance_documents(source, out, config)
    before = Counter(read_table(source / "documents.parquet")["label"].to_pylist())
    after, weights = Counter(), defaultdict(float)
    for row in read_table(out / "documents.parquet").select(["label", "weight"]).to_pylist():
        after[row["label"]] += 1
        weights[row["label"]] += row["weight"]
    assert summary.bars["Rows per label"] == before
    assert summary.bars["Rows per label, balanced"] == after
    assert summary.bars["Weight per label"] == pytest.approx(dict(weights), abs=0.1)
    assert list(summary.bars["Rows per label"]) == list(summary.bars["Weight per label"]) == ["ham", "spam"]
    milder = summary.metrics["imbalance_after"] < summary.metrics["imbalance_before"] - 1
    assert milder == (config.method != "none")
    shown = {sample["group"]: sample for sample in summary.samples if sample["before"].endswith(" rows")}
    assert {name: sample["before"] for name, sample in shown.items()} == {k: f"{n:,} rows" for k, n in before.items()}
    assert all(sample["after"].startswith(f"{after[name]:,} rows, weight ") for name, sample in shown.items())
    if config == Smote(rows="span_mix"):
        assert any(sample["before"] != sample["after"] for sample in summary.samples if sample["group"] == "spam")


def test_each_operation_of_augmentation_has_a_sample(real_data: Path, tmp_path: Path) -> None:
    source, out = folders(real_data, tmp_path)
    kinds = ("synonym", "insert", "swap", "delete")
    operations = [*(Edit(kind=kind) for kind in kinds), CutMix()]
    summary = augment_documents(source, out, AugmentConfig(operations=operations, share=1))
    texts = set(read_table(source / "documents.parquet")["text"].to_pylist())
    shown = {sample["operation"]: sample for sample in summary.samples}
    assert set(shown) >= {*kinds, "cutmix"}
    for kind in (*kinds, "cutmix"):
        assert any(text.startswith(shown[kind]["before"]) for text in texts)
        assert shown[kind]["after"] != shown[kind]["before"]
        assert summary.metrics[f"{kind}_seconds"] >= 0
    rejected = read_table(out / "rejected.parquet")["reason"].to_pylist()
    assert {name.removeprefix("rejected: ") for name in shown if name.startswith("rejected: ")} == set(rejected)
    assert sum(summary.bars["Augmented rows per operation"].values()) == summary.metrics["augmented_rows"]
