"""Augmentation and balancing of more than fits into memory: equal rows however they come, and none is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from document_tables import table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import Summary, read_table, write_table
from llm_assets.data.augment import augment_documents, augment_table
from llm_assets.data.augment.config import AugmentConfig, FilterConfig
from llm_assets.data.balance import balance_documents, balance_table
from llm_assets.data.balance.config import Balance, NoBalance, Oversample, Smote, Undersample, Weights
from llm_assets.data.reread import batches_of

ROOT = Path(__file__).resolve().parents[2]
QUICK = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORDS = ["the", "big", "small", "house", "begin", "error", "quickly", "array", "value", "start", "a", "end", "x1"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=0, max_size=9).map(" ".join)
ROWS = st.lists(
    st.tuples(TEXTS, st.sampled_from(["a", "b", "c", None]), st.sampled_from(["train", "train", "train", "test"])),
    max_size=40,
)
METHODS: list[Balance] = [
    NoBalance(), Weights(power=0.5), Weights(scheme="effective_number"), Oversample(power=0.7), Undersample(power=0.8),
    Smote(neighbours=2), Smote(rows="span_mix"), Oversample(by="topic", max_topics=3),
]  # fmt: skip


def documents(rows: list[tuple[str, str | None, str]]) -> pa.Table:
    made = table([(text, label) for text, label, _ in rows])
    splits = pa.array([split for *_, split in rows], pa.string())
    return made.set_column(made.schema.get_field_index("split"), made.schema.field("split"), splits)


def in_pieces(whole: pa.Table, size: int) -> pa.Table:
    """The same rows in other batches."""
    return pa.Table.from_batches(whole.to_batches(max_chunksize=size), whole.schema)


def through_files(whole: pa.Table, step) -> tuple[pa.Table, pa.Table, Summary]:
    """(documents, rejected, summary) of a step from folder to folder."""
    with tempfile.TemporaryDirectory() as name:
        write_table(whole, Path(name) / "documents.parquet")
        (Path(name) / "out").mkdir()
        summary = step(Path(name), Path(name) / "out")
        assert sorted(path.name for path in (Path(name) / "out").iterdir()) == ["documents.parquet", "rejected.parquet"]
        found = [
            read_table(Path(name) / "out" / file).combine_chunks() for file in ("documents.parquet", "rejected.parquet")
        ]
    return found[0], found[1], summary


@QUICK
@given(ROWS, st.integers(0, 99), st.sampled_from([None, 1, 3]), st.integers(1, 7), st.booleans())
def test_augmentation_loses_nothing_however_rows_come(rows, seed, copies, size, keep_label) -> None:
    whole = documents(rows)
    config = AugmentConfig(
        operations=["synonym", "delete", "swap", "cutmix"], share=0.8, copies=copies, alpha=0.3,
        filters=FilterConfig(keep_label=keep_label),
    )  # fmt: skip
    made, counts = augment_table(whole, config, seed)
    assert made.equals(augment_table(in_pieces(whole, size), config, seed)[0])
    written, rejected, summary = through_files(whole, lambda one, out: augment_documents(one, out, config, seed))
    assert written.equals(made.combine_chunks())
    train = whole.filter(pa.array([split == "train" for *_, split in rows], pa.bool_()))
    assert made.slice(0, train.num_rows).combine_chunks().equals(train.combine_chunks())
    added = made.slice(train.num_rows).to_pylist()
    everything = sum(count for name, count in counts.items() if name.startswith("made_"))
    assert everything == len(added) + rejected.num_rows
    assert summary.metrics["lost_rows"] == summary.metrics["orphans"] == 0
    assert all(rejected["reason"].to_pylist())
    ids = set(train["id"].to_pylist())
    held_out = {text for text, _, split in rows if split == "test"}
    leaked = sum(text in held_out for text, _, split in rows if split == "train")  # no fault of augmentation's
    assert summary.metrics["held_out_texts"] == leaked
    for row in added:
        assert row["parents"] and set(row["parents"]) <= ids and row["label"] and row["text"] not in held_out
    named = made["id"].to_pylist() + rejected["id"].to_pylist()
    assert len(set(named)) == len(named)


@QUICK
@given(ROWS, st.sampled_from(METHODS), st.integers(0, 99), st.integers(1, 7))
def test_balancing_loses_nothing_however_rows_come(rows, config, seed, size) -> None:
    whole = documents(rows)
    made = balance_table(whole, config, seed)
    assert made.equals(balance_table(in_pieces(whole, size), config, seed))
    written, rejected, summary = through_files(whole, lambda one, out: balance_documents(one, out, config, seed))
    assert written.equals(made)
    known = whole["id"].to_pylist()
    originals = [row for row in made.to_pylist() if not row["parents"]]
    assert sorted([row["id"] for row in originals] + rejected["id"].to_pylist()) == sorted(known)
    assert summary.metrics["lost_rows"] == 0 and summary.metrics["rows_in"] == len(rows)
    assert rejected.num_rows == 0 or config.method == "undersample"
    texts = dict(zip(known, whole["text"].to_pylist(), strict=True))
    for row in made.to_pylist():
        assert set(row["parents"]) <= set(known)
        assert row["text"] == texts[(row["parents"] or [row["id"]])[0]] or row["steps"] == ["smote_mix"]
    assert len(set(made["id"].to_pylist())) == made.num_rows
    if made.num_rows:
        assert sum(made["weight"].to_pylist()) / made.num_rows == pytest.approx(1, abs=1e-5)
    before, after = Counter(whole["label"].to_pylist()), Counter(made["label"].to_pylist())
    if config.method in ("oversample", "smote"):
        assert all(after[label] >= count for label, count in before.items())


def test_a_file_read_in_batches_is_not_kept_in_memory(tmp_path: Path) -> None:
    """48 MB in eight row groups, of which one at a time is in memory."""
    path, rng = tmp_path / "documents.parquet", random.Random(3)
    texts = pa.array([rng.randbytes(15_000).hex() for _ in range(1600)], pa.string())
    pq.write_table(pa.table({"text": texts}), path, row_group_size=200, use_dictionary=False)
    size, before, most = texts.nbytes, pa.total_allocated_bytes(), 0
    for _ in batches_of(path):
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < size / 3, (most, size)


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    """180 MB of texts that take no more memory than 45 MB of them.

    What is bounded anyway (samples, row groups under way) is small here, so that both sizes reach the bounds.
    """
    code = textwrap.dedent("""
        import random, sys
        from pathlib import Path
        from llm_assets.artifacts import document_schema
        from llm_assets.data.augment import augment_documents, survey
        from llm_assets.data.augment.config import AugmentConfig, FilterConfig
        from llm_assets.data.balance import balance_documents, plan
        from llm_assets.data.balance.config import Smote, Undersample
        from llm_assets.data.rows import TableWriter, documents_table, text_hash

        folder, count, rng = Path(sys.argv[1]), int(sys.argv[2]), random.Random(1)
        plan.FIT_ROWS = survey.POOL = 500
        TableWriter.BYTES = 4 * 2**20
        words = " ".join(f"word{rng.randrange(3000)}" for _ in range(200_000))
        with TableWriter(folder / "documents.parquet", document_schema()) as writer:
            for block in range(0, count, 100):
                rows = []
                for n in range(block, block + 100):
                    text = words[(start := rng.randrange(len(words) - 15_000)) : start + 15_000]
                    rows.append({
                        "id": text_hash(str(n)), "text": text, "label": "ab"[n % 8 == 0], "weight": 1.0,
                        "uri": f"t:{n}", "split": "test" if n % 10 == 1 else "train", "source": "t", "licence": "MIT",
                        "content_hash": text_hash(text), "parents": [], "steps": [],
                    })
                for batch in documents_table(rows).to_batches():
                    writer.write(batch)
        out = folder / "augmented"
        out.mkdir(exist_ok=True)
        config = AugmentConfig(
            operations=["synonym", "delete", "cutmix"], share=0.1, filters=FilterConfig(train_rows=500)
        )
        made = augment_documents(folder, out, config).metrics
        for config in (Smote(rows="span_mix", max_factor=2), Undersample(power=0.5)):
            assert balance_documents(out, folder, config).metrics["lost_rows"] == 0
        # VmHWM and not ru_maxrss, which counts the memory of the process that started this one too.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(int(status["VmHWM"].split()[0]) // 1024, made["train_rows"])
    """)
    peaks = []
    for count in (3_000, 12_000):
        command = [sys.executable, "-c", code, str(tmp_path), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        peak, rows = map(int, done.stdout.split())
        peaks.append(peak)
        assert rows == 0.9 * count
    assert peaks[1] < peaks[0] + 60, peaks
