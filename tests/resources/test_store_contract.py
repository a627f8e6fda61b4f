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
    with pytest.raises(UserError, match="run/never"):
        store.reset("run/never", MAIN)
    store.open_branch("run/1")
    with pytest.raises(UserError, match="v7"):
        store.reset("run/1", "v7")
    with pytest.raises(UserError, match="main"):
        write(store, MAIN, "raw", "x", "f")


def test_of_an_asset_two_runs_changed_main_has_one_of_them_whole(store):
    """Its record is not left behind where both runs came to the same files from other inputs, or only one did."""
    publish(store, "run/0", raw="a")
    for branch in ("run/1", "run/2"):
        store.open_branch(branch)
    write(store, "run/1", "raw", "a", "another-fingerprint")
    write(store, "run/2", "raw", "b", "second")
    store.publish("run/2", "2")
    store.publish("run/1", "1")
    head = store.heads(MAIN)["raw"]
    assert (text_of(store, head), head.fingerprint) == ("a", "another-fingerprint")


def test_what_a_published_branch_adds_later_is_all_it_publishes_then(store):
    publish(store, "run/1", raw="1")
    publish(store, "run/2", raw="2")
    write(store, "run/1", "clean", "1", "c1")
    store.publish("run/1", "more")
    assert texts(store, MAIN) == {"raw": "2", "clean": "1"}


def test_a_reset_branch_takes_main_back_exactly(store):
    publish(store, "run/1", raw="1", clean="1")
    store.open_branch("run/back")
    publish(store, "run/2", raw="2", model="2")
    store.reset("run/back", "v1")
    assert texts(store, "run/back") == {"raw": "1", "clean": "1"}
    release = store.publish("run/back", "back to v1")
    assert release.name == "v3"
    assert texts(store, MAIN) == {"raw": "1", "clean": "1"}, "what v1 did not have is gone"
    assert texts(store, "v2") == {"raw": "2", "clean": "1", "model": "2"}, "and can be had again"
    store.reset("run/back", "v2")
    store.publish("run/back", "forward again")
    assert texts(store, MAIN) == texts(store, "v2")


def test_all_versions_of_an_asset_newest_first(store):
    publish(store, "run/1", raw="1", other="x")
    publish(store, "run/2", raw="2")
    store.open_branch("run/3")
    write(store, "run/3", "raw", "3", "raw-3")
    store.adopt("run/3", store.heads("v1")["raw"])
    assert [text_of(store, version) for version in store.versions("raw")] == ["3", "2", "1"]
    assert store.versions("never") == []


def test_branches_newest_first_and_whether_main_has_all_of_them(store):
    publish(store, "run/1", raw="1")
    store.open_branch("run/2")
    write(store, "run/2", "raw", "2", "raw-2")
    assert {branch.name: branch.published for branch in store.branches()} == {"run/1": True, "run/2": False}
    times = [branch.at for branch in store.branches()]
    assert times == sorted(times, reverse=True)
    store.publish("run/2", "2")
    assert all(branch.published for branch in store.branches())


def test_what_is_forgotten_cannot_be_read_and_says_so(open_store, tmp_path):
    store = open_store()
    publish(store, "run/1", raw="secret", other="kept")
    publish(store, "run/2", raw="harmless")
    (secret,) = (version for version in store.versions("raw") if text_of(store, version) == "secret")
    assert store.forget([secret]) > 0
    for one in (store, open_store()):
        with pytest.raises(UserError, match=r"raw version .* was erased"):
            one.checkout(secret)
        with pytest.raises(UserError, match="erased"):
            one.adopt("run/2", secret)
        assert one.heads("v1")["raw"].data_version == secret.data_version, "the history still names it"
        assert one.find("raw", secret.fingerprint) is None
        assert [text_of(one, version) for version in one.versions("raw")] == ["harmless"]
        assert texts(one, MAIN) == {"raw": "harmless", "other": "kept"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"secret" in path.read_bytes()]
    with pytest.raises(UserError, match="erased"):
        store.reset("run/2", "v1")
    assert store.forget([secret]) == 0


def test_what_another_version_has_too_stays_when_one_is_forgotten(store):
    store.open_branch("run/1")
    first = write(store, "run/1", "raw", "shared", "f1")
    second = write(store, "run/1", "raw", "shared", "f2")
    other = write(store, "run/1", "clean", "shared", "f3")
    store.forget([first])
    with pytest.raises(UserError, match="erased"):
        store.checkout(first)
    assert text_of(store, second) == text_of(store, other) == "shared"


def test_what_is_computed_anew_after_it_was_forgotten_is_there_again(store):
    store.open_branch("run/1")
    first = write(store, "run/1", "raw", "text", "f1")
    store.forget([first])
    again = write(store, "run/1", "raw", "text", "f1")
    assert text_of(store, again) == text_of(store, store.find("raw", "f1")) == "text"


def test_collecting_removes_what_nothing_refers_to(store, tmp_path):
    publish(store, "run/1", raw="published")
    for branch, text in (("run/kept", "kept text"), ("run/gone", "garbage text")):
        store.open_branch(branch)
        write(store, branch, "raw", text, text.replace(" ", "-"))
    gone = store.heads("run/gone")["raw"]
    store.checkout(gone)
    trial = store.collect(["run/kept"], dry_run=True)
    assert trial.branches == ["run/1", "run/gone"]
    assert [version.data_version for version in trial.versions] == [gone.data_version]
    assert text_of(store, gone) == "garbage text", "a trial removes nothing"
    assert {branch.name for branch in store.branches()} == {"run/1", "run/kept", "run/gone"}
    done = store.collect(["run/kept"])
    assert (done.branches, [v.data_version for v in done.versions]) == (trial.branches, [gone.data_version])
    assert done.freed == trial.freed > len("garbage text") * 4
    assert {branch.name for branch in store.branches()} == {"run/kept"}
    assert store.heads("run/gone") == {}
    assert store.find("raw", "garbage-text") is None
    with pytest.raises(UserError, match="raw version"):
        store.checkout(gone)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"garbage text" in path.read_bytes()]
    assert texts(store, MAIN) == texts(store, "v1") == {"raw": "published"}
    assert texts(store, "run/kept") == {"raw": "kept text"}
    assert store.collect(["run/kept"]).freed == 0
    publish(store, "run/2", raw="garbage")
    assert texts(store, MAIN) == {"raw": "garbage"}


def test_what_kept_versions_were_computed_from_is_kept(store):
    """Computed in a run that failed, adopted by one that was published."""
    store.open_branch("run/failed")
    raw = write(store, "run/failed", "raw", "old", "r1")
    clean = write(store, "run/failed", "clean", "clean", "c1", raw=raw)
    write(store, "run/failed", "unused", "unused", "u1")
    publish(store, "run/1", raw="new")
    store.open_branch("run/2")
    store.adopt("run/2", clean)
    store.publish("run/2", "2")
    assert [version.asset for version in store.collect([]).versions] == ["unused"]
    assert store.branches() == []
    chain = lineage(store, store.heads(MAIN)["clean"])
    assert {asset: text_of(store, version) for asset, version in chain.items()} == {"clean": "clean", "raw": "old"}
    assert store.collect([]) == store.collect([], dry_run=True)
    assert lineage(store, store.heads(MAIN)["clean"]).keys() == {"clean", "raw"}


def test_a_branch_goes_on_from_its_release(store):
    """After another run was published meanwhile, a published branch holds what both have made."""
    for branch, asset in (("run/1", "raw"), ("run/2", "clean")):
        store.open_branch(branch)
        write(store, branch, asset, "a", f"{asset}-a")
    store.publish("run/2", "first")
    store.publish("run/1", "second")
    assert texts(store, "run/1") == texts(store, MAIN) == {"raw": "a", "clean": "a"}
