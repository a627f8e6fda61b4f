"""The lakeFS store through the vendor's client, against the emulation of its API (not a server: see there)."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lakefs_emulator import KEY_ID, SECRET, Emulator, Fault
from lakefs_emulator_api import BRANCH_ID

from llm_assets.errors import UserError
from resources import lakefs_client
from resources.config import StoreConfig
from resources.lakefs_client import Access
from resources.lakefs_repository import branch_id, branch_name
from resources.lakefs_store import LakeFSStore
from resources.store import MAIN


@pytest.fixture
def emulator(tmp_path):
    (tmp_path / "server").mkdir()
    emulator = Emulator(tmp_path / "server")
    yield emulator
    emulator.stop()


@pytest.fixture
def machine(emulator, tmp_path):
    """A function that gives the store as seen from another machine (its own local cache)."""

    def make(name: str = "a", **settings) -> LakeFSStore:
        config = StoreConfig(kind="lakefs", **settings)
        return LakeFSStore(tmp_path / name / "store", Access(emulator.endpoint, KEY_ID, SECRET), config)

    return make


@pytest.fixture
def store(machine):
    return machine()


def write(store, branch, asset, text, fingerprint, **inputs):
    folder = store.root.parent / f"out-{asset}-{fingerprint}-{os.getpid()}"
    (folder / "sub").mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_text(text)
    (folder / "sub" / "b.bin").write_bytes(text.encode() * 3)
    return store.write(branch, asset, folder, fingerprint=fingerprint, inputs=inputs, metadata={"summary": {}})


def test_a_version_is_read_back_and_main_sees_it_only_when_published(store, machine):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    assert store.heads(MAIN) == {}
    other = machine("b")
    for one in (store, other):
        assert (one.checkout(version) / "a.txt").read_text() == "hello"
        assert (one.checkout(version) / "sub" / "b.bin").read_bytes() == b"hello" * 3
    assert store.publish("run/1", "first").name == "v1"
    assert other.heads(MAIN)["raw"].data_version == version.data_version
    assert other.heads("v1")["raw"].data_version == version.data_version
    assert store.publish("run/1", "again") is None
    assert store.find("raw", "f1") == version


def faults(emulator, *every):
    emulator.faults[:] = every
    return emulator.faults


def test_a_storm_of_429_and_503_is_waited_out(store, emulator, monkeypatch):
    monkeypatch.setattr(lakefs_client, "FIRST_DELAY", 0.01)
    store.open_branch("run/1")
    storm = faults(
        emulator,
        Fault("POST .*/merge/", status=429, times=4),
        Fault("POST .*/commits", status=503, times=4),
        Fault("POST .*/objects", status=503, times=4),
        Fault("GET .*/objects", status=429, times=4),
    )
    version = write(store, "run/1", "raw", "hello", "f1")
    assert store.publish("run/1", "first").name == "v1"
    assert store.heads(MAIN)["raw"].data_version == version.data_version
    assert not any(fault.times for fault in storm[:3])


def test_a_server_that_stays_busy_is_given_up_on_and_nothing_is_half_done(store, emulator, monkeypatch):
    monkeypatch.setattr(lakefs_client, "FIRST_DELAY", 0.001)
    store.open_branch("run/1")
    faults(emulator, Fault("POST .*/commits", status=503, times=100))
    with pytest.raises(UserError, match="answered 503"):
        write(store, "run/1", "raw", "hello", "f1")
    faults(emulator)
    assert store.heads("run/1") == {} and store.find("raw", "f1") is None
    assert write(store, "run/1", "raw", "hello", "f1") == store.find("raw", "f1")


@pytest.mark.parametrize(("status", "says"), [(409, "409"), (412, "hook of lakeFS refused.*licences are missing")])
def test_a_conflict_and_a_hook_are_reported_and_not_tried_again(store, emulator, status, says):
    store.open_branch("run/1")
    write(store, "run/1", "raw", "hello", "f1")
    faults(emulator, Fault("POST .*/merge/main", status=status, times=9, message="licences are missing"))
    before = len(emulator.requests)
    with pytest.raises(UserError, match=says):
        store.publish("run/1", "first")
    assert sum("POST" in request and "/merge/main" in request for request in emulator.requests[before:]) == 1
    assert store.heads(MAIN) == {}


@pytest.mark.parametrize("kind", ["reset", "lost"])
def test_connections_cut_at_every_request_change_nothing_of_the_result(store, emulator, monkeypatch, kind):
    """Each write to the server is cut once: on the way in, or when it is done and its answer is on the way back."""
    monkeypatch.setattr(lakefs_client, "FIRST_DELAY", 0.001)
    store.open_branch("run/0")
    write(store, "run/0", "other", "o", "o")
    store.publish("run/0", "before")
    every = faults(
        emulator,
        *(
            Fault(pattern, kind)
            for pattern in (
                "POST .*/branches$",
                "POST .*/objects",
                "POST .*/commits",
                "POST .*/tags$",
                "POST .*/merge/run",
                "POST .*/merge/main",
                "DELETE .*/branches/write",
                "GET .*/objects",
                "DELETE .*/tags",
            )
        ),
    )
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    assert store.publish("run/1", "first").name == "v2"
    assert not any(fault.times for fault in every)
    assert [release.name for release in store.releases()] == ["v2", "v1"], "no publication was made twice"
    assert store.heads("v2")["raw"].data_version == version.data_version
    assert store.repository.branches("write-") == {}


def test_a_large_file_goes_through_in_pieces(store, machine, emulator, tmp_path):
    """40 MiB: more than the vendor's writer keeps in memory, and several reads; a connection is cut in the middle."""
    store.open_branch("run/1")
    (tmp_path / "out").mkdir()
    content = os.urandom(2**20) * 40
    (tmp_path / "out" / "model.bin").write_bytes(content)
    (tmp_path / "out" / "empty").touch()
    faults(emulator, Fault(r"POST .*model\.bin", "reset"), Fault(r"GET .*model\.bin", "short"))
    version = store.write("run/1", "model", tmp_path / "out", fingerprint="f", inputs={}, metadata={})
    other = machine("b").checkout(version)
    assert (other / "model.bin").read_bytes() == content and (other / "empty").read_bytes() == b""


def test_wrong_content_from_the_server_is_named_and_never_used(store, machine, emulator):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    other = machine("b")
    faults(emulator, Fault(r"GET .*path=raw/.*a\.txt", "flip"))
    with pytest.raises(UserError, match=r"raw version .* file a\.txt is damaged in lakeFS or on the way"):
        other.checkout(version)
    assert (other.checkout(version) / "a.txt").read_text() == "hello", "it was only on the way: the next read is right"
    third = machine("c")
    entry = emulator.repositories["llm-assets"].tree("run_2f1")[f"raw/{version.data_version}/a.txt"]
    Path(entry.address).write_text("hellp")
    for _ in range(2):
        with pytest.raises(UserError, match=r"raw version .* file a\.txt is damaged"):
            third.checkout(version)
    Path(entry.address).unlink()
    with pytest.raises(UserError, match=r"raw version .* file a\.txt is missing in lakeFS"):
        third.checkout(version)


@pytest.mark.parametrize("harm", [lambda file: file.write_bytes(b"hellp"), lambda file: file.unlink()])
def test_damage_on_this_machine_is_mended_from_the_server(store, harm):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    (stored,) = [path for path in store.root.glob("cache/files/md5/*/*") if path.read_bytes() == b"hello"]
    stored.chmod(0o644)
    harm(stored)
    assert (store.checkout(version) / "a.txt").read_text() == "hello"


def test_what_the_run_holds_already_is_not_uploaded_or_downloaded_again(store, emulator):
    store.open_branch("run/1")
    write(store, "run/1", "raw", "hello", "f1")
    before = len(emulator.requests)
    again = write(store, "run/1", "raw", "hello", "f2")
    store.checkout(again)
    sent = [one for one in emulator.requests[before:] if one.startswith("POST") and "/objects?" in one]
    assert len(sent) == 1 and "version.json" in sent[0]
    assert not [one for one in emulator.requests[before:] if one.startswith("GET") and "/objects?path=raw/" in one]


def test_a_version_of_an_unpublished_run_is_adopted_by_another(store, machine):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    other = machine("b")
    other.open_branch("run/2")
    adopted = other.adopt("run/2", other.find("raw", "f1"))
    assert other.find("raw", "f1") == version, "it is listed where it was, without a moment in which it is not"
    assert other.adopt("run/2", adopted).commit == adopted.commit, "adopting what is there commits nothing"
    store.collect(keep=["run/2"])
    assert other.publish("run/2", "two").name == "v1"
    assert (other.checkout(other.heads(MAIN)["raw"]) / "a.txt").read_text() == "hello"
    assert adopted.data_version == version.data_version


def test_an_adopted_version_survives_that_another_run_publishes_meanwhile(store, machine):
    """The three-way merge must not leave the record of one version with the contents of another."""
    for number, text in (("0", "A"), ("1", "B")):
        store.open_branch(f"run/{number}")
        if number == "0":
            write(store, "run/0", "raw", text, "f0")
            store.publish("run/0", "A")
            store.open_branch("run/2")
        else:
            write(store, "run/1", "raw", text, "f1")
    write(store, "run/2", "raw", "A", "f0-again")
    store.publish("run/1", "B")
    store.publish("run/2", "A again")
    fresh = machine("b")
    assert (fresh.checkout(fresh.heads(MAIN)["raw"]) / "a.txt").read_text() == "A"
    assert (fresh.checkout(fresh.heads("v2")["raw"]) / "a.txt").read_text() == "B"


def publish_runs(endpoint, root, number):
    store = LakeFSStore(root, Access(endpoint, KEY_ID, SECRET), StoreConfig(kind="lakefs"))
    for step in range(3):
        branch = f"run/{number}-{step}"
        store.open_branch(branch)
        write(store, branch, "shared", f"{number}-{step}", f"s{number}-{step}")
        write(store, branch, f"own{number}", f"{number}-{step}", f"o{number}-{step}")
        assert store.publish(branch, branch) is not None


def test_publishers_at_once_lose_nothing_and_number_alike(store, emulator, tmp_path):
    spawn = multiprocessing.get_context("fork")
    publishers = [
        spawn.Process(target=publish_runs, args=(emulator.endpoint, tmp_path / f"machine-{number}", number))
        for number in range(4)
    ]
    for one in publishers:
        one.start()
    for one in publishers:
        one.join()
    assert [one.exitcode for one in publishers] == [0] * 4
    releases = store.releases()
    assert [release.name for release in releases] == [f"v{number}" for number in range(12, 0, -1)]
    heads = store.heads(MAIN)
    assert set(heads) == {"shared", *(f"own{number}" for number in range(4))}
    for number in range(4):
        assert (store.checkout(heads[f"own{number}"]) / "a.txt").read_text() == f"{number}-2"
    for release in releases:  # each is whole: both assets of the run that made it
        own = release.branch.removeprefix("run/")
        there = store.heads(release.name)
        assert (store.checkout(there["shared"]) / "a.txt").read_text() == own
        assert (store.checkout(there[f"own{own[0]}"]) / "a.txt").read_text() == own


def die(endpoint, root, pattern):
    """Writes and publishes; killed when the server has done what `pattern` says, before the answer is read."""
    store = LakeFSStore(root, Access(endpoint, KEY_ID, SECRET), StoreConfig(kind="lakefs"))
    pool = lakefs_client.connect(store.access).sdk_client.objects_api.api_client.rest_client.pool_manager
    request = pool.request

    def killing(method, url, **keywords):
        answer = request(method, url, **keywords)
        if re.search(pattern, f"{method} {url}"):
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    pool.request = killing
    store.open_branch("run/1")
    write(store, "run/1", "left", "text", "l")
    write(store, "run/1", "right", "text", "r")
    store.publish("run/1", "first")


@pytest.mark.parametrize(
    "pattern",
    [
        "POST .*/repositories$",
        "POST .*/branches$",
        "POST .*/objects",
        "POST .*/commits$",
        "POST .*/tags$",
        "POST .*/merge/run",
        "DELETE .*/branches/write",
        "POST .*/merge/main",
    ],
)
def test_a_client_killed_between_two_steps_leaves_main_whole_and_can_be_rerun(emulator, machine, tmp_path, pattern):
    spawn = multiprocessing.get_context("fork")
    root = tmp_path / "a" / "store"
    root.mkdir(parents=True)
    process = spawn.Process(target=die, args=(emulator.endpoint, root, pattern))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    store = machine("b")
    assert set(store.heads(MAIN)) in (set(), {"left", "right"})
    store.open_branch("run/1")
    for asset, fingerprint in (("left", "l"), ("right", "r")):
        found = store.find(asset, fingerprint)
        if found:
            store.adopt("run/1", found)
        else:
            write(store, "run/1", asset, "text", fingerprint)
    store.publish("run/1", "first")
    assert [release.name for release in store.releases()] == ["v1"]
    store.open_branch("run/2")
    write(store, "run/2", "left", "newer", "n")
    assert store.publish("run/2", "second").name == "v2"
    assert set(store.heads("v1")) == {"left", "right"}, "a tag that a killed publisher left out is set by the next one"
    assert store.repository.tag("v1") == store.releases()[1].commit
    for version in store.heads(MAIN).values():
        store.checkout(version)


def test_forget_makes_a_version_unreadable_everywhere(store, machine):
    for number in "12":
        store.open_branch(f"run/{number}")
        write(store, f"run/{number}", "raw", number, f"f{number}")
        store.publish(f"run/{number}", number)
    elsewhere = machine("b")
    first, second = (elsewhere.heads(name)["raw"] for name in ("v1", "v2"))
    elsewhere.checkout(first)
    assert store.forget([first]) > 0
    for one in (store, elsewhere):
        with pytest.raises(UserError, match=r"raw version .* was erased"):
            one.checkout(first)
        assert (one.checkout(second) / "a.txt").read_text() == "2"
    assert [v.fingerprint for v in store.versions("raw")] == ["f2"] and store.find("raw", "f1") is None
    assert store.heads("v1")["raw"].data_version == first.data_version, "history still names it"
    assert [release.name for release in store.releases()] == ["v2", "v1"], "that is no release"
    store.open_branch("run/3")
    assert (store.checkout(write(store, "run/3", "raw", "1", "f3")) / "a.txt").read_text() == "1"


def test_collect_removes_what_nothing_refers_to(store):
    for number in "12":
        store.open_branch(f"run/{number}")
        write(store, f"run/{number}", "raw", number, f"f{number}")
    store.publish("run/1", "1")
    store.repository.create_branch("write-1000-killed", store.repository.head(MAIN))
    trial = store.collect(keep=[], dry_run=True)
    assert (trial.branches, [v.fingerprint for v in trial.versions]) == (["run/1", "run/2"], ["f2"])
    assert len(store.branches()) == 2
    assert store.collect(keep=[]) == trial and trial.freed > 0
    assert store.branches() == [] and store.repository.branches("write-") == {}
    assert store.find("raw", "f2") is None and (store.checkout(store.find("raw", "f1")) / "a.txt").read_text() == "1"


def test_main_is_protected_and_commits_say_what_they_are(store, emulator, monkeypatch, tmp_path):
    monkeypatch.setenv("LLM_ASSETS_UI", "http://127.0.0.1:3000")
    store.open_branch("run/1")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a").write_text("a")
    metadata = {"run": "abc", "code_version": "3", "summary": {}}
    version = store.write("run/1", "raw", tmp_path / "out", fingerprint="f", inputs={}, metadata=metadata)
    said = store.repository.commit_at(version.commit).metadata
    assert said["::lakefs::Dagster::url[url:ui]"] == "http://127.0.0.1:3000/runs/abc"
    assert (said["run"], said["code-version"], said["data-version"]) == ("abc", "3", version.data_version)
    with pytest.raises(UserError, match="cannot write to protected branch"):
        store.repository.commit(MAIN, "by hand", {})
    assert not any(SECRET in json.dumps(one.json()) for one in emulator.repositories["llm-assets"].commits.values())


@given(st.text("aZ09-_/. é漢\n", min_size=1))
def test_branch_names_go_there_and_back(name):
    identifier = branch_id(name)
    assert BRANCH_ID.fullmatch(identifier) and branch_name(identifier) == name
