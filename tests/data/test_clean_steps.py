"""All steps of cleaning together: counts conserved, the same bytes however they are run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from document_tables import of_texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.artifacts import rejected_schema, write_table
from llm_assets.data.clean import clean_batches, clean_documents
from llm_assets.data.clean_batch import batch_steps
from llm_assets.data.config import CleanConfig
from llm_assets.data.steps import apply_steps

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
RULES = {name: {"enabled": True} for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb")}
EVERYTHING = CleanConfig.model_validate(
    {
        "min_chars": 5,
        "mask_labels": True,
        "rules": [{"pattern": "secret", "reject": "secret"}, {"pattern": r"(\w+)@@", "replacement": r"\1"}],
        "quality": RULES,
        "pii": {"enabled": True},
        "decontaminate": {"enabled": True, "ngram": 5},
    }
)
PIECES = st.sampled_from(
    ["the pump and", "have to be with that.", "a@b.org ", "\n", "\n\n", "...", "- item", "{", "secret", "x@@", "é",
     "“a”", "``code``", ">>> run", "Grüße", "4111 1111 1111 1111", "#", " ", "The same line again and again.\n",
     "==="]
)  # fmt: skip
TEXTS = st.lists(st.one_of(st.none(), st.lists(PIECES, max_size=30).map(" ".join)), max_size=25)


@QUICK
@given(TEXTS)
def test_each_step_keeps_or_rejects_every_row(texts: list[str | None]) -> None:
    raw = of_texts(texts)
    kept, rejected, reports = apply_steps(batch_steps(EVERYTHING), raw)
    assert sorted(kept["id"].to_pylist() + rejected["id"].to_pylist()) == sorted(raw["id"].to_pylist())
    assert rejected.schema.equals(rejected_schema())
    rows = raw.num_rows
    for report in reports.values():
        assert report.rows_in == rows == report.kept + report.rejected
        assert sum(report.reasons.values()) == report.rejected
        rows = report.kept
    assert rows == kept.num_rows


@QUICK
@given(TEXTS, st.integers(1, 7))
def test_batches_of_any_size_give_the_same_bytes(tmp_path_factory, texts: list[str | None], size: int) -> None:
    raw = of_texts([*texts, "A text that stays, for it says something to its readers.", *texts])
    found = []
    for rows in (size, 1000):
        out = tmp_path_factory.mktemp("out")
        clean_batches(raw.to_batches(max_chunksize=rows), raw.num_rows, out, EVERYTHING)
        found.append({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()})
    assert found[0] == found[1]


def test_one_process_and_several_give_the_same_bytes(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    words = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(700)]
    texts = [
        f"Text {' '.join(words[n % 600 : n % 600 + 9])} of a{n % 900}@b.org, that is all of it" for n in range(2500)
    ]
    write_table(of_texts(texts), raw / "documents.parquet")
    found = []
    for workers in (1, 2):
        out = tmp_path / str(workers)
        out.mkdir()
        summary = clean_documents(raw, out, CleanConfig.model_validate({"pii": {"enabled": True}}), workers=workers)
        assert summary.metrics["lost_rows"] == 0
        assert summary.metrics["duplicates_kept"] == summary.metrics["rows"]
        found.append([(out / name).read_bytes() for name in ("documents.parquet", "rejected.parquet")])
        assert sorted(path.name for path in out.iterdir()) == ["documents.parquet", "rejected.parquet"]
    assert found[0] == found[1]
