"""The lakeFS store through the vendor's client, against the emulation of its API (not a server: see there)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lakefs_emulator import KEY_ID, SECRET, Emulator, Fault
from llm_assets.errors import UserError
from resources.config import StoreConfig
from resources.lakefs_client import Access
from resources.lakefs_store import LakeFSStore
from resources.store import MAIN, history, lineage


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


def test_history_lineage_reset(store):
    for number in "123":
        store.open_branch(f"run/{number}")
        raw = write(store, f"run/{number}", "raw", number, f"f{number}")
        write(store, f"run/{number}", "other", "constant", "g", raw=raw)
        store.publish(f"run/{number}", number)
    assert [r.name for r in store.releases()] == ["v3", "v2", "v1"]
    assert [(r.name, v.fingerprint) for r, v in history(store, "raw")] == [("v3", "f3"), ("v2", "f2"), ("v1", "f1")]
    assert lineage(store, store.heads("v2")["other"])["raw"].fingerprint == "f2"
    assert [v.fingerprint for v in store.versions("raw")] == ["f3", "f2", "f1"]
    assert [(b.name, b.published) for b in store.branches()] == [("run/3", True), ("run/2", True), ("run/1", True)]
    store.open_branch("run/back")
    store.reset("run/back", "v1")
    assert store.publish("run/back", "back").name == "v4"
    assert store.heads(MAIN)["raw"].fingerprint == "f1"
    assert (store.checkout(store.heads(MAIN)["raw"]) / "a.txt").read_text() == "1"
