"""The contract of `resources/store.py`, on every backend: what a run, its gates and people may rely on."""

from __future__ import annotations

import pytest
from tiny_artifacts import publish, text_of, texts, write

from llm_assets.errors import UserError
from resources.store import MAIN, history, lineage


def test_a_version_is_read_back_and_main_sees_it_only_when_published(store):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    assert store.heads(MAIN) == {}
    assert text_of(store, version) == "hello"
    release = store.publish("run/1", "first")
    assert (release.name, release.branch, release.message) == ("v1", "run/1", "first")
    assert texts(store, MAIN) == texts(store, "v1") == {"raw": "hello"}
    assert store.heads(MAIN)["raw"].data_version == version.data_version
    assert store.publish("run/1", "again") is None


def test_what_was_written_with_a_version_is_read_with_it(open_store, tmp_path):
    store = open_store()
    store.open_branch("run/1")
    raw = write(store, "run/1", "raw", "hello", "f1")
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "été 1.txt").write_text("x")
    metadata = {"summary": {"metrics": {"rows": 3}}, "note": "“ü”"}
    version = store.write("run/1", "clean", folder, fingerprint="f2", inputs={"raw": raw}, metadata=metadata)
    for one in (version, open_store().heads("run/1")["clean"], open_store().find("clean", "f2")):
        assert (one.asset, one.fingerprint, one.metadata) == ("clean", "f2", metadata)
        assert one.data_version == version.data_version
        assert one.inputs["raw"]["data_version"] == raw.data_version
    assert (store.checkout(version) / "été 1.txt").read_text() == "x"


def test_equal_content_is_an_equal_version_in_another_store(store, other_store):
    for one in (store, other_store):
        one.open_branch("run/1")
    first, second = (write(one, "run/1", "raw", "same", "f") for one in (store, other_store))
    assert first.data_version == second.data_version


def test_what_was_computed_is_found_by_its_fingerprint_from_any_branch(store):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    assert store.find("raw", "f1").data_version == version.data_version
    assert store.find("raw", "other") is None
    assert store.find("other", "f1") is None
    store.open_branch("run/2")
    adopted = store.adopt("run/2", version)
    assert store.heads("run/2")["raw"].data_version == version.data_version
    assert adopted.fingerprint == "f1"
    assert store.adopt("run/2", adopted).commit == adopted.commit, "adopting what is there commits nothing"


def test_lineage_names_exact_versions(store):
    store.open_branch("run/1")
    raw = write(store, "run/1", "raw", "1", "f1")
    clean = write(store, "run/1", "clean", "2", "f2", raw=raw)
    model = write(store, "run/1", "model", "3", "f3", clean=clean)
    write(store, "run/1", "raw", "newer", "f4")
    assert lineage(store, model)["raw"].data_version == raw.data_version
    assert set(lineage(store, model)) == {"raw", "clean", "model"}


def test_history_is_newest_first(store):
    for number in "123":
        publish(store, f"run/{number}", raw=number, other="constant")
    assert [release.name for release in store.releases()] == ["v3", "v2", "v1"]
    assert [(r.name, text_of(store, v)) for r, v in history(store, "raw")] == [("v3", "3"), ("v2", "2"), ("v1", "1")]
    assert [r.name for r, _ in history(store, "other")] == ["v1"]
    assert texts(store, "v2") == {"raw": "2", "other": "constant"}


def test_two_runs_publish_without_losing_each_other(store):
    store.open_branch("run/1")
    store.open_branch("run/2")
    write(store, "run/1", "raw", "1", "f1")
    write(store, "run/2", "prompts", "2", "f2")
    store.publish("run/1", "1")
    store.publish("run/2", "2")
    assert texts(store, MAIN) == {"raw": "1", "prompts": "2"}


def test_an_artifact_without_files_is_refused(store, tmp_path):
    store.open_branch("run/1")
    (tmp_path / "empty" / "sub").mkdir(parents=True)
    with pytest.raises(UserError, match="wrote no file"):
        store.write("run/1", "raw", tmp_path / "empty", fingerprint="f", inputs={}, metadata={})


def test_what_is_not_there_is_named(store, tmp_path):
    assert store.heads("run/never") == {}
    with pytest.raises(UserError, match="run/never"):
        write(store, "run/never", "raw", "x", "f")
    with pytest.raises(UserError, match="run/never"):
        store.publish("run/never", "x")
