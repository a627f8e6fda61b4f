"""In and out of every step of cleaning, those over all rows among them, on real texts with all steps on."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from document_tables import banking, table

from llm_assets.artifacts import DOCUMENTS, REJECTED, read_table
from llm_assets.data.clean import clean_batches
from llm_assets.data.config import CleanConfig

pytest.importorskip("symspellpy")


def dirty(pairs: list[tuple[str, str]], seed: int) -> list[tuple[str | None, str | None]]:
    """Real queries, some repeated, changed a little, of another label, without one, or without a text."""
    draw = random.Random(seed)
    rows: list[tuple[str | None, str | None]] = []
    for text, label in draw.sample(pairs, 400):
        rows.append((text, label))
        other = draw.choice(pairs)[1]
        extra: dict[float, tuple[str | None, str | None]] = {
            0.05: (text.upper(), label), 0.1: (f"{text} please", label), 0.15: (None, label), 0.2: (text[:4], label),
            0.25: (f"secret {text}", None), 0.3: (f"{text} write to me@b.org about it again", label.upper()),
            0.4: (f"recieve {text}", other),
            0.45: ("Das ist ein Satz, der hier ganz sicher nicht bleiben darf.", label),
        }  # fmt: skip
        drawn = draw.random()
        rows += [row for limit, row in extra.items() if limit - 0.05 <= drawn < limit]
    return rows


@pytest.mark.parametrize("seed", [1, 2])
def test_every_step_keeps_or_rejects_every_row(seed: int, real_data: Path, tmp_path: Path) -> None:
    on: dict[str, Any] = {"enabled": True}
    (tmp_path / "h.json").write_text(json.dumps([{
        "op": "core/row-removal", "engineConfig": {"mode": "row-based", "facets": [
            {"type": "text", "name": "t", "columnName": "text", "query": "refund", "mode": "text",
             "caseSensitive": False}]},
    }]))  # fmt: skip
    config = CleanConfig.model_validate({
        "openrefine": str(tmp_path / "h.json"), "rules": [{"pattern": "secret", "reject": "secret"}], "min_chars": 10,
        "spelling": on, "pii": on, "labels": {"merge": "fingerprint"}, "near_duplicates": {"threshold": 0.6},
        "label_errors": on | {"folds": 2, "action": "drop", "min_odds": 2}, "decontaminate": on | {"ngram": 3},
        "quality": {"gopher_quality": on | {"min_words": 4, "min_stop_words": 1}},
    })  # fmt: skip
    raw = table(dirty(banking(real_data), seed), split=None)
    raw = raw.set_column(0, raw.schema.field(0), pa.array([f"{n:016x}" for n in range(raw.num_rows)]))
    totals = clean_batches(raw.to_batches(max_chunksize=97), raw.num_rows, tmp_path, config)
    kept, rejected = read_table(tmp_path / DOCUMENTS), read_table(tmp_path / REJECTED)
    assert sorted(kept["id"].to_pylist() + rejected["id"].to_pylist()) == sorted(raw["id"].to_pylist())
    rows = raw.num_rows
    for name, report in totals.reports.items():
        assert (report.rows_in, report.rows_in) == (rows, report.kept + report.rejected), name
        assert sum(report.reasons.values()) == report.rejected and report.seconds >= 0, name
        rows = report.kept
    assert rows == kept.num_rows and totals.lost_rows() == 0
    rejecting = {name for name, report in totals.reports.items() if report.rejected}
    assert rejecting >= {"openrefine", "empty", "rule secret", "length", "language", "gopher", "duplicates",
                         "label_errors", "decontaminate"}  # fmt: skip
    assert totals.reports["labels"].changed and totals.reports["spelling"].changed and totals.reports["pii"].changed
