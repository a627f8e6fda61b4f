"""Random sequences of what runs and people do, against a dictionary that does the same."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tiny_artifacts import text_of, texts, write

from llm_assets.errors import UserError
from resources.store import MAIN, ManagedStore

State = dict[str, str]  # asset -> text
branch_names = st.sampled_from(["run/1", "run/2", "run/3"])
assets = st.sampled_from(["raw", "clean", "model"])


class Runs(RuleBasedStateMachine):
    """`main`, branches and releases are plain dictionaries; a text names a fingerprint and a content."""

    new_store: ClassVar[Callable[[Path], Callable[[], ManagedStore]]]

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.open_store = type(self).new_store(Path(self.folder.name))
        self.store = self.open_store()
        self.main: State = {}
        self.heads: dict[str, State] = {}
        self.bases: dict[str, State] = {}
        self.releases: list[State] = []

    def teardown(self) -> None:
        self.folder.cleanup()

    @rule(branch=branch_names)
    def open_branch(self, branch):
        self.store.open_branch(branch)
        if branch not in self.heads:
            self.heads[branch], self.bases[branch] = dict(self.main), dict(self.main)

    @rule(branch=branch_names, asset=assets, text=st.sampled_from("abc"))
    def write(self, branch, asset, text):
        """As a run does: what was computed from the same before is taken over."""
        if branch not in self.heads:
            with pytest.raises(UserError, match=branch):
                write(self.store, branch, asset, text, f"{asset}-{text}")
            return
        found = self.store.find(asset, f"{asset}-{text}")
        if found:
            self.store.adopt(branch, found)
        else:
            write(self.store, branch, asset, text, f"{asset}-{text}")
        self.heads[branch][asset] = text

    @precondition(lambda self: self.heads)
    @rule(data=st.data())
    def publish(self, data):
        branch = data.draw(st.sampled_from(sorted(self.heads)))
        head, base = self.heads[branch], self.bases[branch]
        changed = {asset: text for asset, text in head.items() if base.get(asset) != text}
        after = {asset: text for asset, text in (self.main | changed).items() if asset in head or asset not in base}
        release = self.store.publish(branch, branch)
        assert (release is None) == (after == self.main)
        if release:
            self.main = after
            self.releases.append(dict(after))
            self.heads[branch], self.bases[branch] = dict(after), dict(after)
            assert release.name == f"v{len(self.releases)}"

    @precondition(lambda self: self.heads and self.releases)
    @rule(data=st.data())
    def reset(self, data):
        branch = data.draw(st.sampled_from(sorted(self.heads)))
        number = data.draw(st.integers(1, len(self.releases)))
        self.store.reset(branch, f"v{number}")
        self.heads[branch], self.bases[branch] = dict(self.releases[number - 1]), dict(self.main)

    @rule(kept=st.sets(branch_names))
    def collect(self, kept):
        done = self.store.collect(kept)
        assert set(done.branches) == self.heads.keys() - kept
        for branch in done.branches:
            del self.heads[branch], self.bases[branch]

    @rule()
    def open_again(self):
        self.store = self.open_store()

    @invariant()
    def the_store_is_the_model(self):
        if not hasattr(self, "store"):
            return
        assert texts(self.store, MAIN) == self.main
        for branch, state in self.heads.items():
            assert texts(self.store, branch) == state
        assert {branch.name for branch in self.store.branches()} == self.heads.keys()
        assert [release.name for release in self.store.releases()] == [
            f"v{n}" for n in range(len(self.releases), 0, -1)
        ]
        held = [self.main, *self.heads.values(), *self.releases]
        for asset in ("raw", "clean", "model"):
            listed = [text_of(self.store, version) for version in self.store.versions(asset)]
            assert len(listed) == len(set(listed)) and set(listed) >= {state[asset] for state in held if asset in state}

    @precondition(lambda self: self.releases)
    @invariant()
    def each_release_is_what_it_was(self):
        for number, state in enumerate(self.releases, start=1):
            assert texts(self.store, f"v{number}") == state


@pytest.fixture
def machine(new_store) -> type[Runs]:
    return type("Machine", (Runs,), {"new_store": staticmethod(new_store)})


def explore(machine: type[Runs], examples: int, steps: int) -> None:
    from hypothesis.stateful import run_state_machine_as_test

    chosen = settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(machine, settings=chosen)


def test_random_runs(machine):
    explore(machine, examples=12, steps=15)


@pytest.mark.slow
def test_many_random_runs(machine):
    explore(machine, examples=200, steps=30)
