"""Lineage both ways: from a version to its rows, and from a row to all that saw it."""

from __future__ import annotations

import json

import pytest
from small_world import write_version

from llm_assets.artifacts import DOCUMENTS, read_table
from llm_assets.errors import UserError
from llm_assets.versions.lineage import trace
from llm_assets.versions.sightings import sightings
from resources.workspace import open_store


def test_a_table_is_traced_to_its_sources_and_licences(small):
    found = trace(small.store, small.home, "balanced_documents@v2", rows=5)
    assert list(found.versions) == ["raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents"]
    assert found.releases["balanced_documents"] == ["v2"]
    raw = {(origin.source, origin.licence): origin.rows for origin in found.origins["raw_documents"]}
    assert raw["feedback", "unknown"] == 2 and raw["files", "CC0-1.0"] == 100
    assert {"python:rich", "python:httpx"} <= {source for source, _ in raw}
    assert {origin.split for origin in found.origins["balanced_documents"]} == {"train"}
    assert len(found.rows) == 5 and found.rows_of == "balanced_documents"
    table = read_table(small.store.checkout(found.versions["balanced_documents"]) / DOCUMENTS)
    assert {row.id for row in found.rows} <= set(table["id"].to_pylist())


def test_a_row_is_followed_into_every_version_that_saw_it(small):
    row = small.feedback[0]
    found = sightings(small.store, small.home, row)
    seen = {(s.version.asset, s.releases): dict(s.splits) for s in found.seen}
    assert seen["raw_documents", ("v3", "v2")] == {"unsplit": 1}
    assert not any("v1" in releases for _, releases in seen), "v1 was made before the row came"
    assert {asset for asset, _ in seen} >= {"raw_documents", "cleaned_documents"}
    assert all(s.how == "holds" for s in found.seen)


def test_augmented_rows_are_found_by_their_parents(small):
    version = small.store.heads("v1")["augmented_documents"]
    table = read_table(small.store.checkout(version) / DOCUMENTS).to_pylist()
    child = next(row for row in table if row["parents"])
    found = sightings(small.store, small.home, child["parents"][0])
    assert child["id"] in found.ids and child["content_hash"] in found.hashes
    mine = next(s for s in found.seen if s.version.data_version == version.data_version)
    assert mine.splits["train"] >= 2


def test_a_source_by_its_name_or_kind(small):
    one, all_of_them = (sightings(small.store, small.home, name) for name in ("source:python:rich", "source:python"))
    rows = lambda found: max(s.rows for s in found.seen if s.version.asset == "raw_documents")  # noqa: E731
    assert 0 < rows(one) <= 80 < rows(all_of_them)
    with pytest.raises(UserError, match="python:rich"):
        sightings(small.store, small.home, "source:nonesuch")


def test_models_tell_what_they_were_trained_on_from_what_they_were_measured_with(store, tmp_path):
    """The judgement itself, on versions written by hand: only what is recorded counts."""
    rows = {"a": "train", "b": "validation", "c": "test"}
    data = write_version(store, tmp_path, "cleaned_documents", rows=rows)
    train = write_version(store, tmp_path, "balanced_documents", rows={"a": "train"}, inputs=[data])
    model = write_version(store, tmp_path, "finetuned_model", files={"model.safetensors": b"w"}, inputs=[train, data])
    package = write_version(store, tmp_path, "release_candidate", files={"model.onnx": b"o"}, inputs=[model, data])
    write_version(store, tmp_path, "deployed_endpoint", files={"deployment.json": b"{}"}, inputs=[package])
    other = write_version(store, tmp_path, "cleaned_documents", rows={"x": "train"})
    write_version(store, tmp_path, "finetuned_model", files={"model.safetensors": b"v"}, inputs=[other])

    def seen(row):
        return {s.version.asset: s.how for s in sightings(store, tmp_path, row).seen}

    assert seen("a") == {
        "cleaned_documents": "holds",
        "balanced_documents": "holds",
        "finetuned_model": "trained on",
        "release_candidate": "trained on",
        "deployed_endpoint": "derived from",
    }
    assert seen("b")["finetuned_model"] == "measured with" and seen("c")["release_candidate"] == "measured with"
    assert seen("x").keys() == {"cleaned_documents", "finetuned_model"}


def test_a_reply_is_traced_to_the_package_that_gave_it(store, tmp_path):
    data = write_version(store, tmp_path, "cleaned_documents", rows={"a": "train"})
    package = write_version(store, tmp_path, "release_candidate", files={"model.onnx": b"o"}, inputs=[data])
    record = {"id": "chatcmpl-1", "at": "2026-01-01T00:00:00.000+00:00", "text": "q", "digest": package.data_version}
    (tmp_path / "traffic").mkdir()
    (tmp_path / "traffic" / "2026-01-01.jsonl").write_text(
        '{"torn\n' + json.dumps(record, separators=(",", ":")) + "\n"
    )
    found = trace(store, tmp_path, "chatcmpl-1")
    assert found.version.data_version == package.data_version and found.named.reply["text"] == "q"
    assert list(found.versions) == ["cleaned_documents", "release_candidate"]


def test_simulated_requests_come_from_the_documents_of_the_package_being_served(tmp_path):
    """By exact version: main has moved on."""
    from llm_assets.monitoring.simulate import documents_of

    home = tmp_path / "home"
    store = open_store(home)
    for name in ("a", "b"):
        data = write_version(store, tmp_path, "cleaned_documents", rows={name: "test"})
        write_version(store, tmp_path, "release_candidate", files={"model.onnx": name.encode()}, inputs=[data])
        store.publish("run/by-hand", "run")
    older = store.heads("v1")["release_candidate"].data_version
    ids = lambda digest: read_table(documents_of(home, digest) / DOCUMENTS)["id"].to_pylist()  # noqa: E731
    assert ids(older) == ["a"] and ids(None) == ["b"]
