"""The profile of small tables, before and after augmentation and balancing."""

from __future__ import annotations

import json
import random
from pathlib import Path

from llm_assets.artifacts import write_table
from llm_assets.data.augment import augment_documents
from llm_assets.data.balance import balance_documents
from llm_assets.data.balance.config import Weights
from llm_assets.data.clean import clean_documents
from llm_assets.data.config import AugmentConfig, CleanConfig
from llm_assets.data.profile import profile_documents
from llm_assets.data.rows import documents_table, text_hash


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


def test_profile_counts_every_step(tmp_path: Path) -> None:
    names = ("raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents")
    folders = {name: tmp_path / name for name in (*names, "profile")}
    for folder in folders.values():
        folder.mkdir()
    write_table(documents({"a": 120, "b<script>": 60}, split=None), folders[names[0]] / "documents.parquet")
    clean_documents(folders[names[0]], folders[names[1]], CleanConfig())
    augment_documents(folders[names[1]], folders[names[2]], AugmentConfig(share=1))
    balance_documents(folders[names[2]], folders[names[3]], Weights())
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
