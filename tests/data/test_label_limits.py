"""Labels are few: their number is bounded wherever they are held, and what they cost to compare."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pytest
from document_tables import captions, table

from llm_assets.artifacts import write_table
from llm_assets.data import labels, standard_forms
from llm_assets.data.acquire import acquire_documents
from llm_assets.data.augment import augment_documents
from llm_assets.data.augment.config import AugmentConfig
from llm_assets.data.balance import balance_documents
from llm_assets.data.balance.config import Weights
from llm_assets.data.clean import clean_documents
from llm_assets.data.config import CleanConfig, Files
from llm_assets.data.keyers import clusters_by_distance
from llm_assets.data.table_config import TableConfig
from llm_assets.data.tabular import tidy_table
from llm_assets.errors import UserError

ROWS = 60


def one_a_row(folder: Path) -> None:
    texts = [f"the text of row {n}, which is as long as others are and says {n * n} things" for n in range(ROWS)]
    made = table([(text, f"label number {n}") for n, text in enumerate(texts)])
    write_table(made, folder / "documents.parquet")
    pa.csv.write_csv(made.select(["text", "label"]), folder / "rows.csv")


@pytest.mark.parametrize("stage", ["acquire", "clean", "merge", "augment", "balance"])
def test_too_many_labels_are_an_error_that_says_so(stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_a_row(tmp_path)
    out = tmp_path / "out"
    out.mkdir()

    def run() -> None:
        config: dict[str, Any] = {"language": {"enabled": False}, "near_duplicates": {"enabled": False}}
        if stage == "acquire":
            acquire_documents([Files(paths=[str(tmp_path / "rows.csv")], label_column="label")], tmp_path, out)
        elif stage == "augment":
            augment_documents(tmp_path, out, AugmentConfig(share=1, filters={"keep_label": False}))
        elif stage == "balance":
            balance_documents(tmp_path, out, Weights())
        else:
            merge = "fingerprint" if stage == "merge" else "none"
            clean_documents(tmp_path, out, CleanConfig.model_validate({**config, "labels": {"merge": merge}}))

    run()
    monkeypatch.setattr(labels, "MOST_LABELS", ROWS // 3)
    for path in out.iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"more than 20 distinct labels \('label number 0', 'label number 1'"):
        run()
    assert not list(out.iterdir()), "nothing half-written"


@pytest.mark.parametrize("merge", ["none", "fingerprint"])
def test_a_column_of_one_label_a_row_is_not_held(merge: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left as it is where nothing is to be merged, and else refused before much of it has been read."""
    made = pa.table({"name": [f"this is the label of row number {n}" for n in range(30_000)]})
    config = {"standardise": [{"column": "name", "kind": "label", "labels": {"merge": merge}}]}
    held = []

    def counted(counts: dict[str, int], *arguments: Any) -> None:
        held.append(len(counts))
        labels.bounded(counts, *arguments)

    monkeypatch.setattr(labels, "MOST_LABELS", 1000)
    monkeypatch.setattr(standard_forms, "bounded", counted)
    if merge == "none":
        tidied = tidy_table(made, TableConfig.model_validate(config), tmp_path, workers=1)
        assert tidied[0].equals(made) and not held
        return
    with pytest.raises(UserError, match=r"column 'name' of kind label: more than 1,000 distinct labels"):
        tidy_table(made, TableConfig.model_validate(config), tmp_path, workers=1)
    assert max(held) < 25_000


def test_labels_that_cannot_be_near_are_not_compared(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels with other digits, or of another length, never meet; edit distances are for so many labels only."""
    from rapidfuzz.distance import Levenshtein

    compared = []
    distance = Levenshtein.distance

    def counted(*arguments: Any, **named: Any) -> int:
        compared.append(arguments)
        return distance(*arguments, **named)

    monkeypatch.setattr(Levenshtein, "distance", counted)
    assert not clusters_by_distance({f"order number {n:05d}": 1 for n in range(2000)})
    assert not compared
    rng = random.Random(2)
    words = [" ".join(text.split()[: rng.randrange(2, 6)]) for text in captions(real_data, "val.en")]
    clusters_by_distance(dict.fromkeys(words, 1))
    assert 0 < len(compared) < len(set(words)) ** 2 / 20
    monkeypatch.setattr(labels, "MOST_COMPARED", 20)
    many = pa.table({"label": [f"class {n}" for n in range(21)]})
    with pytest.raises(UserError, match=r"merge: levenshtein: more than 20 distinct labels"):
        labels.merge_labels(many, labels.LabelsConfig(merge="levenshtein"))
