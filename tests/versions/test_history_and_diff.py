"""What the releases were, and what differs between two of them."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from small_world import write_version

from llm_assets.artifacts import DOCUMENTS, write_table
from llm_assets.errors import UserError
from llm_assets.versions.diff import diff
from llm_assets.versions.diff_tables import diff_tables
from llm_assets.versions.diff_weights import diff_weights
from llm_assets.versions.history import releases_with_changes, versions_of


def test_the_releases_and_what_each_changed(small):
    found = releases_with_changes(small.store)
    assert [item.release.name for item in found] == ["v3", "v2", "v1"]
    assert {change.asset for change in found[-1].changes} == set(small.store.heads("v1"))
    assert "raw_documents" not in {change.asset for change in found[0].changes}, "only the cleaning rules changed"
    assert all(item.run and item.release.branch == f"run/{item.run}" for item in found)
    assert [release.name for release, _ in versions_of(small.store, "raw_documents")] == ["v2", "v1"]


def test_two_releases_differ_by_asset_and_two_tables_by_row(small):
    changed = {change.asset for change in diff(small.store, small.home, "v1", "v2")}
    assert "raw_documents" in changed
    found = diff(small.store, small.home, "raw_documents@v1", "raw_documents@v2")
    table = found.tables[DOCUMENTS]
    assert (table.added, table.removed, table.changed) == (2, 0, 1)
    assert {row["id"] for row in table.added_samples} == set(small.feedback)
    (before, after) = table.changed_samples[0]
    assert "gives what" in before["text"] and "hands over what" in after["text"]
    assert table.columns == {"text": 1, "content_hash": 1}
    assert found.metrics["feedback_rows"] == (0, 2) and found.recipe == {}


def test_a_changed_recipe_is_named(small):
    found = diff(small.store, small.home, "cleaned_documents@v2", "cleaned_documents@v3")
    assert found.recipe == {"data.clean.min_chars": (30, 60)} and found.inputs == {}
    assert found.environment == {}
    same = diff(small.store, small.home, "raw_documents@v2", "raw_documents@v3")
    assert same.same and not same.files and not same.tables


def test_what_cannot_be_compared_is_said(small):
    with pytest.raises(UserError, match="raw_documents@v2"):
        diff(small.store, small.home, "v2", "raw_documents@v1")
    with pytest.raises(UserError, match="versions of one asset"):
        diff(small.store, small.home, "cleaned_documents@v2", "raw_documents@v1")


ROWS = st.dictionaries(st.integers(0, 40), st.tuples(st.integers(0, 3), st.none() | st.integers(0, 2)), max_size=30)


@settings(max_examples=40, deadline=None)
@given(ROWS, ROWS, st.randoms(use_true_random=False))
def test_rows_are_counted_as_they_are(tmp_path_factory, old, new, shuffle):
    """Against the definition, on unordered tables."""
    folder = tmp_path_factory.mktemp("diff")
    for name, rows in (("old", old), ("new", new)):
        items = list(rows.items())
        shuffle.shuffle(items)
        columns = {
            "id": [str(key) for key, _ in items],
            "content_hash": [str(value[0]) for _, value in items],
            "label": [value[1] for _, value in items],
        }
        schema = pa.schema([("id", pa.string()), ("content_hash", pa.string()), ("label", pa.int64())])
        write_table(pa.table(columns, schema=schema), folder / name)
    found = diff_tables(folder / "old", folder / "new", 2)
    both = old.keys() & new.keys()
    changed = {key for key in both if old[key][0] != new[key][0]}
    assert found.rows == (len(old), len(new))
    assert (found.added, found.removed) == (len(new.keys() - old.keys()), len(old.keys() - new.keys()))
    assert found.changed == len(changed)
    assert found.touched == len({key for key in both - changed if old[key] != new[key]})
    assert found.columns.get("label", 0) == sum(old[key][1] != new[key][1] for key in both)
    assert len(found.changed_samples) == min(2, len(changed))


def test_weights_differ_by_tensor_with_norms(tmp_path):
    one = {"same": np.ones((2, 2), np.float32), "moved": np.array([3.0, 4.0], np.float32), "gone": np.zeros(3)}
    other = {"same": np.ones((2, 2), np.float32), "moved": np.array([3.0, 4.5], np.float32), "new": np.zeros(1)}
    save_file(one, tmp_path / "a.safetensors")
    save_file(other, tmp_path / "b.safetensors")
    found = diff_weights(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert found.equal == 1 and [item.name for item in found.changed] == ["gone", "new", "moved"]
    moved = found.changed[-1]
    assert moved.norms[0] == pytest.approx(5) and moved.distance == pytest.approx(0.5)
    assert moved.relative == pytest.approx(0.1)


def test_a_model_and_a_report(store, tmp_path):
    save_file({"w": np.ones(4, np.float32)}, tmp_path / "w.safetensors")
    files = {"model.safetensors": (tmp_path / "w.safetensors").read_bytes(), "report.json": b'{"a": {"b": [1, 2]}}'}
    made = {"python": "3.11.1", "packages": {"torch": "1"}}
    write_version(store, tmp_path, "finetuned_model", files=files, environment=made, recipe={"training": {"steps": 5}})
    save_file({"w": np.full(4, 2, np.float32)}, tmp_path / "w.safetensors")
    files = {"model.safetensors": (tmp_path / "w.safetensors").read_bytes(), "report.json": b'{"a": {"b": [1, 3]}}'}
    made = {"python": "3.11.1", "packages": {"torch": "2"}}
    write_version(store, tmp_path, "finetuned_model", files=files, environment=made, recipe={"training": {"steps": 6}})
    new, old = (version.data_version[:9] for version in store.versions("finetuned_model"))
    found = diff(store, tmp_path, f"finetuned_model@{old}", f"finetuned_model@{new}")
    if found.recipe["training.steps"] == (6, 5):  # both were written within one second
        found = diff(store, tmp_path, f"finetuned_model@{new}", f"finetuned_model@{old}")
    assert found.recipe == {"training.steps": (5, 6)} and found.environment == {"torch": ("1", "2")}
    assert found.weights["model.safetensors"].changed[0].relative == 1.0
    assert found.keys["report.json"] == {"a.b.1": (2, 3)}
