"""What every store stands: damaged contents, many writers at once, and writers that are killed."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from tiny_artifacts import publish, stored_file, text_of, texts, write

from llm_assets.errors import UserError
from resources.store import MAIN, ManagedStore

FORK = multiprocessing.get_context("fork")


def harm(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    path.chmod(0o644)
    if how == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "truncate":
        path.write_bytes(data[:-1])
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
@pytest.mark.parametrize("what", ["file", "list"])
def test_damage_is_named_never_read_and_healed_by_the_next_run(store, tmp_path, what, how):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    stored = stored_file(tmp_path, b"hello")
    if what == "list":
        stored = next(tmp_path.rglob(f"files/md5/*/{version.data_version[2:]}"))
    harm(stored, how)
    try:
        assert text_of(store, version) == "hello", "a store that has the content elsewhere too gets it from there"
    except UserError as error:
        assert f"raw version {version.data_version}" in str(error) and str(stored) in str(error)
        assert store.find("raw", "f1") is None
    store.open_branch("run/2")
    again = write(store, "run/2", "raw", "hello", "f1")
    assert text_of(store, again) == text_of(store, version) == text_of(store, store.find("raw", "f1")) == "hello"


@pytest.mark.parametrize("how", ["flip", "truncate", "remove"])
def test_a_damaged_version_is_not_found(store, tmp_path, how):
    store.open_branch("run/1")
    write(store, "run/1", "raw", "hello", "f1")
    harm(stored_file(tmp_path, b"hello"), how)
    found = store.find("raw", "f1")
    assert found is None or text_of(store, found) == "hello"


def test_a_checkout_that_was_tampered_with_is_not_used(store):
    store.open_branch("run/1")
    version = write(store, "run/1", "raw", "hello", "f1")
    folder = store.checkout(version)
    (folder / "more.txt").write_text("not of this version")
    (folder / "a.txt").unlink()
    (folder / "a.txt").write_text("other")
    assert text_of(store, version) == "hello"


def together(count: int, work: Callable[[int], None]) -> None:
    """Run `work` in `count` processes at once; all of them end well."""
    start = FORK.Barrier(count)

    def begin(number: int) -> None:
        start.wait()
        work(number)

    processes = [FORK.Process(target=begin, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * count


def test_twenty_runs_publish_at_once(open_store):
    def run(number: int) -> None:
        publish(open_store(), f"run/{number}", shared=f"shared {number}".replace(" ", "-"), **{f"own{number}": "x"})

    together(20, run)
    store = open_store()
    releases = store.releases()
    assert [release.name for release in releases] == [f"v{n}" for n in range(20, 0, -1)]
    assert len({release.branch for release in releases}) == 20
    assert set(store.heads(MAIN)) == {"shared", *(f"own{number}" for number in range(20))}
    for older, newer in zip(releases[1:], releases, strict=False):
        gained = store.heads(newer.name).keys() - store.heads(older.name).keys()
        assert gained == {f"own{newer.branch.removeprefix('run/')}"}
        assert text_of(store, store.heads(newer.name)["shared"]) == f"shared-{newer.branch.removeprefix('run/')}"
    assert {release.name: release.commit for release in releases} == {
        release.name: store.heads(release.name)["shared"].commit for release in releases
    }


def test_steps_of_one_run_write_at_once(open_store):
    open_store().open_branch("run/1")
    together(8, lambda number: write(open_store(), "run/1", f"asset{number}", "same", f"f{number}") and None)
    store = open_store()
    assert texts(store, "run/1") == {f"asset{number}": "same" for number in range(8)}


def test_nothing_that_is_being_added_is_collected(open_store):
    """Writers and collections at once; what each writer wrote is there."""

    def work(number: int) -> None:
        store = open_store()
        for step in range(10):
            if number == 0:
                store.collect(["run/1", "run/2", "run/3"])
            else:
                store.open_branch(f"run/{number}")
                version = write(store, f"run/{number}", "raw", f"text {step}", f"f{number}-{step}")
                assert text_of(store, version) == f"text {step}"

    together(4, work)
    store = open_store()
    assert [texts(store, f"run/{number}") for number in (1, 2, 3)] == [{"raw": "text 9"}] * 3


ASSETS = ("left", "middle", "right")


def run(store: ManagedStore, number: int) -> None:
    """What a run does, and a rerun of it: take what was computed, compute the rest, publish."""
    branch = f"run/{number}"
    store.open_branch(branch)
    for asset in ASSETS:
        found = store.find(asset, f"{asset}-{number}")
        if found:
            store.adopt(branch, found)
        else:
            write(store, branch, asset, f"{asset} {number}", f"{asset}-{number}")
    store.publish(branch, branch)


def die_at_call(number: int, work: Callable[[], None]) -> int:
    """Do `work`, and be killed at its `number`th call or return of a function; how many there were."""
    seen = 0

    def count(*_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(None)
    return seen


def kill_runs(open_store: Callable[[], ManagedStore], kills: int, seed: int) -> None:
    """Kill runs at random calls. `main` is always one whole run, and a rerun completes."""

    def begin(number: int) -> None:
        run(open_store(), number)

    choose = random.Random(seed)
    begin(0)  # what is imported or made once is no part of the count
    calls = die_at_call(0, partial(begin, 1))
    last, interrupted = 1, 0
    for number in range(2, kills + 2):
        writer = FORK.Process(target=die_at_call, args=(choose.randint(1, calls), partial(begin, number)))
        writer.start()
        writer.join()
        interrupted += writer.exitcode == -signal.SIGKILL
        store = open_store()
        shown = texts(store, MAIN)
        assert shown in [{asset: f"{asset} {n}" for asset in ASSETS} for n in (last, number)], "half a run is shown"
        run(store, number)
        assert texts(store, MAIN) == {asset: f"{asset} {number}" for asset in ASSETS}
        last = number
    store = open_store()
    assert interrupted > kills / 2, "most of them were at work when they were killed"
    assert [release.name for release in store.releases()] == [f"v{n}" for n in range(kills + 2, 0, -1)]
    for release in store.releases():
        number = release.branch.removeprefix("run/")
        assert texts(store, release.name) == {asset: f"{asset} {number}" for asset in ASSETS}


def test_killed_runs_leave_main_whole_and_complete_when_run_again(open_store):
    kill_runs(open_store, 20, seed=7)


@pytest.mark.slow
def test_two_hundred_killed_runs(open_store):
    kill_runs(open_store, 200, seed=11)
