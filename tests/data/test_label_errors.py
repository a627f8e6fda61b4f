"""Wrong labels are found in public labelled texts into which wrong ones were put."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from document_tables import ag_news, banking, of_texts, sms, table

from llm_assets.artifacts import read_table, write_table
from llm_assets.data import label_errors
from llm_assets.data.clean import clean_documents, clean_table
from llm_assets.data.clean_config import LabelErrorsConfig
from llm_assets.data.config import CleanConfig


def cleaned(pairs: dict[str, str], given: dict[str, str], action: str, folder: Path) -> tuple[Any, Any, Any]:
    """(documents, rejected, summary) of texts with these labels, all for training."""
    write_table(table([(text, given[text]) for text in pairs]), folder / "documents.parquet")
    out = folder / action
    out.mkdir()
    config = {
        "repair": False, "markup": False, "white_space": "keep", "min_chars": 1, "language": {"enabled": False},
        "near_duplicates": {"enabled": False}, "label_errors": {"enabled": True, "action": action},
    }  # fmt: skip
    summary = clean_documents(folder, out, CleanConfig.model_validate(config))
    return read_table(out / "documents.parquet"), read_table(out / "rejected.parquet"), summary


@pytest.mark.parametrize(
    ("read", "wrong", "precision", "recall"),
    [(ag_news, 0.05, 0.7, 0.4), (ag_news, 0.1, 0.8, 0.35), (sms, 0.1, 0.95, 0.45), (banking, 0.1, 0.85, 0.7)],
)
def test_labels_made_wrong_are_found_and_few_others(
    read: Callable[[Path], list[tuple[str, str]]],
    wrong: float,
    precision: float,
    recall: float,
    real_data: Path,
    tmp_path: Path,
) -> None:
    """Precision is a lower bound: what was wrong already counts against it."""
    pairs = dict(read(real_data))
    labels, rng = sorted(set(pairs.values())), random.Random(5)
    made = {text for text in pairs if rng.random() < wrong}
    given = {
        text: rng.choice([other for other in labels if other != label]) if text in made else label
        for text, label in pairs.items()
    }
    documents, _, summary = cleaned(pairs, given, "fix", tmp_path)
    after = dict(zip(documents["text"].to_pylist(), documents["label"].to_pylist(), strict=True))
    made &= set(after)  # a few repeat another but for case and punctuation
    found = {text for text in after if after[text] != given[text]}
    assert len(found & made) / len(found) >= precision
    assert len(found & made) / len(made) >= recall
    assert sum(after[text] == pairs[text] for text in after) > sum(given[text] == pairs[text] for text in after)
    assert summary.metrics["label_errors_found"] == summary.metrics["label_errors_changed"] == len(found)
    shown = [sample for sample in summary.samples if sample["what"] == "label error, mended"]
    assert shown and all(any(text.startswith(s["before"].split(": ", 1)[1]) for text in found) for s in shown)


def test_a_report_changes_nothing_and_drop_says_why(real_data: Path, tmp_path: Path) -> None:
    pairs = dict(sms(real_data)[:2000])
    given = {text: "spam" if n % 20 == 0 else label for n, (text, label) in enumerate(pairs.items())}
    documents, rejected, summary = cleaned(pairs, given, "report", tmp_path)
    after = dict(zip(documents["text"].to_pylist(), documents["label"].to_pylist(), strict=True))
    assert after == {text: given[text] for text in after}
    assert "label_error" not in rejected["reason"].to_pylist()
    assert any(sample["what"] == "label error, left as it is" for sample in summary.samples)
    _, rejected, dropped = cleaned(pairs, given, "drop", tmp_path)
    why = [row["detail"] for row in rejected.to_pylist() if row["reason"] == "label_error"]
    assert len(why) == summary.metrics["label_errors_found"] == dropped.metrics["label_errors_rejected"] > 20
    assert all(" by its label, " in detail for detail in why)


def test_wrong_labels_are_found_dropped_or_mended() -> None:
    topics = {
        "pumps": "the pump moves water through a pipe and a valve",
        "birds": "a bird sings in the tree and flies south",
    }
    texts = [f"{text} number {n} {label}" for n in range(40) for label, text in topics.items()]
    labels: list[str | None] = [label for _ in range(40) for label in topics]
    labels[6] = "birds"  # a text about pumps
    found = label_errors.find_label_errors(lambda: [pa.array(texts)], pa.array(labels), LabelErrorsConfig())
    assert (found.rows.tolist(), found.labels) == ([6], ["pumps"])
    raw = of_texts(texts, split="train")
    raw = raw.set_column(raw.schema.get_field_index("label"), "label", pa.array(labels))
    for action, rows, wrong in (("report", 80, "birds"), ("drop", 79, None), ("fix", 80, "pumps")):
        config = {"near_duplicates": {"enabled": False}, "label_errors": {"enabled": True, "action": action}}
        kept, rejected = clean_table(raw, CleanConfig.model_validate(config))
        assert kept.num_rows == rows
        assert wrong is None or kept["label"][6].as_py() == wrong
        assert rejected["reason"].to_pylist() == (["label_error"] if action == "drop" else [])


def test_of_many_texts_a_sample_tells(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text is judged, those of the sample by models that did not see it; rare labels are not left out."""
    pairs, rng = ag_news(real_data), random.Random(5)
    pairs += [(f"{text} {n}", "rare") for n, text in enumerate(["of pumps, pipes and valves"] * 30)]
    names = sorted({label or "" for _, label in pairs} - {"rare"})
    wrong = {row for row, (_, label) in enumerate(pairs) if label != "rare" and rng.random() < 0.1}
    given = [
        rng.choice([n for n in names if n != label]) if row in wrong else label for row, (_, label) in enumerate(pairs)
    ]
    monkeypatch.setattr(label_errors, "FIT_ROWS", 2500)
    sampled = label_errors._sample(np.array([0] * 9000 + [1] * 90 + [2] * 7), 0)
    assert np.bincount(np.digitize(sampled, [9000, 9090])).tolist() == [2500 * 9000 // 9097, 50, 7]
    texts = pa.array([text for text, _ in pairs])
    columns = [texts.slice(first, 700) for first in range(0, len(texts), 700)]
    found = label_errors.find_label_errors(lambda: columns, pa.array(given), LabelErrorsConfig())
    rows = set(found.rows.tolist())
    assert len(rows & wrong) / len(rows) >= 0.8 and len(rows & wrong) / len(wrong) >= 0.35
    assert not any(pairs[row][1] == "rare" for row in rows)
    parts = np.array_split(np.arange(len(pairs)), 4)  # what is found is not of one part of the rows
    assert min(len(rows & set(part.tolist())) for part in parts) > len(rows) / 8


def test_memory_goes_with_the_sample_and_not_with_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_errors, "FIT_ROWS", 500)
    peaks = []
    for count in (1500, 6000):

        def texts(count: int = count) -> Iterator[pa.Array]:
            for first in range(0, count, 500):
                rng = random.Random(first)
                yield pa.array([" ".join(f"{'ab'[n % 2]}{rng.randrange(999)}" for _ in range(60)) for n in range(500)])

        labels = pa.array([str(n % 2) for n in range(count)])
        tracemalloc.start()
        label_errors.find_label_errors(texts, labels, LabelErrorsConfig())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    counts = 4500 * 2 * 60 * 12  # bytes by which the counts of all texts would have grown
    assert peaks[1] - peaks[0] < counts / 4, peaks
