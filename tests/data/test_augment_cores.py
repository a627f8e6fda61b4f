"""Augmentation on several cores: the same files as in one process, and errors that name what is wrong."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow as pa
import pytest
from document_tables import ag_news, sms, table

from llm_assets.artifacts import write_table
from llm_assets.data.augment import augment_documents, augment_table
from llm_assets.data.augment import run as augment_run
from llm_assets.data.augment.config import AugmentConfig, FilterConfig, SynonymsConfig
from llm_assets.errors import UserError

FILES = ["documents.parquet", "rejected.parquet"]


def cleaned(folder: Path, pairs: list[tuple[str, str | None]]) -> Path:
    """A folder with the rows of these texts, a tenth of them held out."""
    whole = table(pairs)
    splits = pa.array(["test" if row % 10 == 9 else "train" for row in range(len(pairs))])
    whole = whole.set_column(whole.schema.get_field_index("split"), whole.schema.field("split"), splits)
    write_table(whole, folder / "documents.parquet")
    return folder


def test_one_process_and_several_give_the_same_bytes(real_data: Path, tmp_path: Path) -> None:
    """Seven batches, all operations without a model, all filters; texts that are there twice, held out too."""
    pairs = sms(real_data) + ag_news(real_data)[:1400]
    config = AugmentConfig(operations=["synonym", "insert", "swap", "delete", "cutmix"], share=0.7, copies=3)
    cleaned(tmp_path, pairs)
    found, shown = [], []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        out.mkdir()
        summary = augment_documents(tmp_path, out, config, seed=5, workers=workers)
        assert sorted(path.name for path in out.iterdir()) == FILES
        found.append([(out / name).read_bytes() for name in FILES])
        metrics = {name: value for name, value in summary.metrics.items() if "second" not in name}
        bars = {name: value for name, value in summary.bars.items() if "Seconds" not in name}
        shown.append(json.dumps([metrics, bars, summary.samples, summary.note]))
        assert all(metrics[name] for name in ("dropped_held_out", "dropped_copies", "dropped_changed_label"))
        assert metrics["lost_rows"] == metrics["orphans"] == 0
    assert found[0] == found[1]
    assert shown[0] == shown[1]


def test_processes_start_for_many_copies_alone(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def in_order(work, items, workers):
        asked.append(workers)
        return map(work, items)

    monkeypatch.setattr(augment_run, "in_order", in_order)
    monkeypatch.setattr(augment_run, "cores", lambda: 7)
    monkeypatch.setattr(augment_run, "ALONE_COPIES", 30_000)
    documents = table(sms(real_data)[:1000])
    filters = FilterConfig(keep_label=False)
    for share, copies in ((1.0, 29), (1.0, 31), (0.1, 64), (0.0, 64)):
        augment_table(documents, AugmentConfig(operations=["swap"], share=share, copies=copies, filters=filters))
    assert asked == [1, 7, 1, 1]


def test_a_killed_worker_is_an_error_and_leaves_no_file(real_data: Path, tmp_path: Path) -> None:
    cleaned(tmp_path, ag_news(real_data) * 3)  # 23 batches, of which a few are under way when the first is done
    (tmp_path / "out").mkdir()

    def kill(done: float, total: float, note: str = "") -> None:
        for worker in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # a zombie of an earlier test, too
                if any("popen_loky" in part for part in worker.cmdline()):
                    worker.kill()

    config = AugmentConfig(share=1.0, filters=FilterConfig(keep_label=False))
    with pytest.raises(UserError, match="worker process was killed"):
        augment_documents(tmp_path, tmp_path / "out", config, progress=kill, workers=2)
    assert not list((tmp_path / "out").iterdir())


def test_an_error_in_a_worker_says_what_it_says_in_one_process(tmp_path: Path) -> None:
    config = AugmentConfig(share=1.0, synonyms=SynonymsConfig(wordnet=str(tmp_path)))
    documents = table([("one good text of many words", "a"), ("another bad text of some words", "b")])
    for workers in (1, 2):
        with pytest.raises(UserError, match="no WordNet database"):
            augment_table(documents, config, workers=workers)
