"""Document tables for the tests of data steps: of random words, and of the public data sets."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from llm_assets.data.rows import documents_table, text_hash

SENTENCE = "return the first value of a large array and check every error before you start to build"


def random_documents(counts: dict[str, int], split: str | None = "train") -> pa.Table:
    """`counts[label]` rows of each label, in words that all have and words that only one has."""
    words = SENTENCE.split()
    pairs = []
    for label, count in counts.items():
        for n in range(count):
            rng = random.Random(f"{label}{n}")
            text = " ".join(rng.sample(words, 12) + [f"{label}{rng.random():.6f}" for _ in range(6)])
            pairs.append((text, label))
    return table(pairs, split)


def table(pairs: Sequence[tuple[str | None, str | None]], split: str | None = "train") -> pa.Table:
    """(text, label) as rows of the document schema."""
    return documents_table(
        [
            {
                "id": text_hash(f"{number}/{label}"), "text": text, "label": label, "split": split, "weight": 1.0,
                "source": "test", "uri": f"test:{number}", "licence": "MIT", "content_hash": text_hash(text or ""),
                "parents": [], "steps": [],
            }
            for number, (text, label) in enumerate(pairs)
        ]
    )  # fmt: skip


def of_texts(texts: Sequence[str | None], label: str | None = "pandas", split: str | None = None) -> pa.Table:
    """Rows that all have one label."""
    return table([(text, label) for text in texts], split)


def sms(real_data: Path) -> list[tuple[str, str | None]]:
    lines = (real_data / "sms_spam" / "sms.tsv").read_text(encoding="utf-8").splitlines()
    return [(text, label) for label, _, text in (line.partition("\t") for line in lines)]


def banking(real_data: Path) -> list[tuple[str, str | None]]:
    with (real_data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as stream:
        return [(row["text"], row["category"]) for row in csv.DictReader(stream)]


def ag_news(real_data: Path) -> list[tuple[str, str | None]]:
    with (real_data / "ag_news" / "test.csv").open(encoding="utf-8", newline="") as stream:
        return [(f"{row[1]} {row[2]}", row[0]) for row in csv.reader(stream)]


def captions(real_data: Path, name: str) -> list[str]:
    with gzip.open(real_data / "multi30k" / f"{name}.gz", "rt", encoding="utf-8") as stream:
        return stream.read().splitlines()
