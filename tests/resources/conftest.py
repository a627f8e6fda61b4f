"""The stores that the contract is tested on: one entry of `BACKENDS` each.

A backend is a function of the test's request and an empty folder. It prepares a fresh store there (or skips the test,
saying what is missing) and returns a function that opens it: each call a new handle, as another process would have.
Everything on this machine lies in the folder, contents in `ContentCache`'s layout. A test calls the function in forked
processes too, so it holds nothing that a fork cannot share.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from resources.store import ManagedStore

Open = Callable[[], ManagedStore]


def dvc(request: pytest.FixtureRequest, folder: Path) -> Open:
    from resources.dvc_store import DvcStore

    return lambda: DvcStore(folder / "store")


def lakefs_emulator(request: pytest.FixtureRequest, folder: Path) -> Open:
    """lakeFS's API as `lakefs_emulator.py` emulates it: not the server."""
    from lakefs_emulator import KEY_ID, SECRET, Emulator

    from resources.config import StoreConfig
    from resources.lakefs_client import Access, connect
    from resources.lakefs_store import LakeFSStore

    server = request.getfixturevalue("tmp_path_factory").mktemp("server")  # what it keeps is not on this machine
    emulator = Emulator(server)
    request.addfinalizer(emulator.stop)
    access = Access(emulator.endpoint, KEY_ID, SECRET)
    connect(access)  # imports the client, once for all forks
    return lambda: LakeFSStore(folder / "store", access, StoreConfig(kind="lakefs"))


def lakefs(request: pytest.FixtureRequest, folder: Path) -> Open:
    """A repository of its own on a real server."""
    from resources.config import StoreConfig
    from resources.lakefs_client import connect
    from resources.lakefs_store import LakeFSStore

    access = request.getfixturevalue("lakefs_server")
    config = StoreConfig(kind="lakefs", repository=f"llm-assets-test-{uuid.uuid4().hex[:12]}")
    repositories = connect(access).sdk_client.repositories_api
    store = LakeFSStore(folder / "store", access, config)
    store.repository.create("")
    request.addfinalizer(lambda: repositories.delete_repository(config.repository, force=True))
    return lambda: LakeFSStore(folder / "store", access, config)


@pytest.fixture(scope="session")
def lakefs_server(tmp_path_factory):
    """Access to a real server: the one $LAKEFS_ENDPOINT names, or one of the `lakefs` program on PATH."""
    from resources.config import StoreConfig
    from resources.lakefs_client import endpoint_of, find_access
    from resources.lakefs_server import store_server

    config = StoreConfig(kind="lakefs")
    if endpoint_of(config):
        yield find_access(config, Path())
        return
    if shutil.which("lakefs") is None:
        pytest.skip("no lakeFS server: LAKEFS_ENDPOINT is not set, and there is no `lakefs` program on PATH")
    home = tmp_path_factory.mktemp("lakefs")
    with store_server(config, home):
        yield find_access(config, home)


BACKENDS: dict[str, Callable[[pytest.FixtureRequest, Path], Open]] = {
    "dvc": dvc,
    "lakefs": lakefs,
    "lakefs-emulator": lakefs_emulator,
}


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
