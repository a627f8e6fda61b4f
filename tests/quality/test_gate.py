"""Gates on tables: what fails, on what, with examples."""

from __future__ import annotations

import dagster as dg
import pyarrow as pa
import pytest

from llm_assets.artifacts import write_table
from llm_assets.errors import UserError
from llm_assets.quality import Expect, Suite
from llm_assets.quality.gate import validate
from llm_assets.recipe import current_recipe
from resources.dvc_store import DvcStore


@pytest.fixture
def store(tmp_path):
    store = DvcStore(tmp_path / "store")
    (tmp_path / "out").mkdir()
    table = pa.table({"id": ["a", "b", "b"], "text": ["x", None, "y"], "length": [1, 2, 300]})
    write_table(table, tmp_path / "out" / "rows.parquet")
    store.open_branch("run/1")
    store.write("run/1", "rows", tmp_path / "out", fingerprint="f", inputs={}, metadata={})
    return store


def results(store, *expectations):
    suite = Suite("rows", "rows.parquet", expectations)
    return validate(suite, expectations, store, "run/1", current_recipe())


def test_each_expectation_is_a_check_with_examples(store):
    unique, present, short = results(
        store,
        Expect("ids_are_unique", "ExpectColumnValuesToBeUnique", column="id"),
        Expect("ids_are_there", "ExpectColumnValuesToNotBeNull", column="id"),
        Expect("short", "ExpectColumnMaxToBeBetween", severity="warning", column="length", max_value=100),
    )
    assert not unique.passed and unique.severity == dg.AssetCheckSeverity.ERROR
    assert unique.metadata["examples"].value == ["b", "b"]
    assert present.passed
    assert not short.passed and short.severity == dg.AssetCheckSeverity.WARN
    assert short.metadata["observed_value"].value == 300


def test_an_expectation_that_cannot_run_does_not_pass(store):
    (result,) = results(store, Expect("typo", "ExpectColumnValuesToBeUnique", column="idd"))
    assert not result.passed
    assert "idd" in result.metadata["error"].value


def test_a_suite_never_shrinks_unnoticed(store):
    same = {"kind": "ExpectColumnValuesToBeUnique", "column": "id"}
    with pytest.raises(UserError, match="twice"):
        results(store, Expect("one", **same), Expect("one", **same))
