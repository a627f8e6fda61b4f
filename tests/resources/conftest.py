"""The stores that the contract is tested on: one entry of `BACKENDS` each.

A backend is a function of the test's request and an empty folder. It prepares a fresh store there (or skips the test,
saying what is missing) and returns a function that opens it: each call a new handle, as another process would have.
Everything on this machine lies in the folder, contents in `ContentCache`'s layout. A test calls the function in forked
processes too, so it holds nothing that a fork cannot share.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from resources.store import ManagedStore

Open = Callable[[], ManagedStore]


def dvc(request: pytest.FixtureRequest, folder: Path) -> Open:
    from resources.dvc_store import DvcStore

    return lambda: DvcStore(folder / "store")


BACKENDS: dict[str, Callable[[pytest.FixtureRequest, Path], Open]] = {"dvc": dvc}


@pytest.fixture(params=BACKENDS)
def open_store(request, tmp_path) -> Open:
    """Opens the test's store (in `tmp_path`)."""
    return BACKENDS[request.param](request, tmp_path)


@pytest.fixture
def store(open_store) -> ManagedStore:
    return open_store()


@pytest.fixture
def new_store(open_store, request) -> Callable[[Path], Open]:
    """Makes more stores of the same kind, each in a folder of its own."""
    return lambda folder: BACKENDS[request.node.callspec.params["open_store"]](request, folder)


@pytest.fixture
def other_store(new_store, tmp_path) -> ManagedStore:
    """A second, independent store of the same kind."""
    (tmp_path / "elsewhere").mkdir()
    return new_store(tmp_path / "elsewhere")()
