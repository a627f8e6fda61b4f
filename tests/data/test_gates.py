"""Rows that neither stay nor are rejected stop everything downstream."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from llm_assets.artifacts import Summary
from llm_assets.data.expectations import SUITES
from llm_assets.quality import METRICS
from llm_assets.quality.gate import validate
from llm_assets.recipe import current_recipe
from resources.dvc_store import DvcStore


@pytest.mark.parametrize("asset", ["raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents"])
def test_a_lost_row_fails_a_gate_that_blocks(asset: str, tmp_path: Path) -> None:
    ((suite, expectation),) = [
        (suite, expectation)
        for suite in SUITES
        for expectation in suite.expectations
        if suite.asset == asset and suite.frame == METRICS and expectation.kwargs.get("column") == "lost_rows"
    ]
    for lost in (0, 1):
        store = DvcStore(tmp_path / f"store{lost}")
        out = tmp_path / f"out{lost}"
        out.mkdir()
        (out / "rows.txt").write_text("")
        store.open_branch("run/1")
        metadata = {"summary": Summary({"rows": 9, "lost_rows": lost}).to_json()}
        store.write("run/1", asset, out, fingerprint="f", inputs={}, metadata=metadata)
        (result,) = validate(suite, [expectation], store, "run/1", current_recipe())
        assert result.passed == (lost == 0)
        assert result.severity == dg.AssetCheckSeverity.ERROR
