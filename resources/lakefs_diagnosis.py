"""What `llm-assets doctor` says of a lakeFS server: each way it can fail apart, with what to do about it."""

from __future__ import annotations

import importlib.util
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from llm_assets.errors import UserError
from resources.config import StoreConfig
from resources.lakefs_client import (
    ENDPOINT,
    KEY_ID,
    SECRET,
    TIMEOUT,
    LakeFSError,
    attempt,
    connect,
    endpoint_of,
    find_access,
)
from resources.lakefs_repository import Repository

CONNECT_SECONDS = 5.0


class Diagnosis(NamedTuple):
    """ok: False is a failure, None a remark."""

    ok: bool | None
    detail: str
    fix: str = ""


def diagnose(config: StoreConfig, home: Path) -> Iterator[Diagnosis]:
    """What there is to say, from the package to the repository; ends with the first failure."""
    if importlib.util.find_spec("lakefs") is None:
        yield Diagnosis(False, "the package lakefs is not installed", "pip install 'llm-assets[lakefs]'")
        return
    try:
        access = find_access(config, home)
    except UserError as error:
        needed = None if not endpoint_of(config) else False  # without an endpoint, `up` and `run` start a server
        yield Diagnosis(needed, str(error), f"set {ENDPOINT[0]}, {KEY_ID[0]} and {SECRET[0]}, or run `llm-assets up`")
        return
    if failure := _unreachable(access.endpoint):
        yield failure
        return
    repository = Repository(access, config.repository)
    get_config = connect(access).sdk_client.config_api.get_config
    try:
        server = attempt(access, "read the server's settings", 2, get_config, _request_timeout=TIMEOUT)
        if server.storage_config is None:
            raise LakeFSError(f"what answers at {access.endpoint} does not speak as lakeFS does", 0)
        exists = repository.exists()
        protected = exists and repository.protected()
    except LakeFSError as error:
        yield Diagnosis(False, str(error), _FIXES.get(error.status, f"set {ENDPOINT[0]} to a lakeFS server's URL"))
        return
    version = server.version_config.version if server.version_config else "?"
    yield Diagnosis(True, f"lakeFS {version} at {access.endpoint} knows the keys")
    if not exists:
        place = config.storage_namespace or "where the server suggests"
        yield Diagnosis(
            None,
            f"there is no repository {config.repository} yet",
            f"the first run makes it, its objects {place}; store.repository names another",
        )
    elif not protected:
        yield Diagnosis(
            None,
            f"the branch main of {config.repository} is not protected",
            f"lakectl branch-protect add lakefs://{config.repository} main",
        )


_FIXES = {
    401: f"set {KEY_ID[0]} and {SECRET[0]} to keys of this server",
    403: "ask its administrator for a policy that may read, write, branch, merge and tag in this repository",
    429: "the server is busy: try again",
    503: "the server is starting or overloaded: try again",
}


def _unreachable(endpoint: str) -> Diagnosis | None:
    """What keeps a connection from being made at all."""
    url = urlsplit(endpoint)
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    try:
        socket.create_connection((host, port), CONNECT_SECONDS).close()
    except socket.gaierror:
        return Diagnosis(False, f"the host {host} of {endpoint} is not known", f"look at {ENDPOINT[0]}, and at DNS")
    except ConnectionRefusedError:
        return Diagnosis(
            False, f"nothing listens at {host}:{port}", f"start the server, or correct the port in {ENDPOINT[0]}"
        )
    except OSError as error:
        why = error.strerror or "no answer"
        return Diagnosis(False, f"{host}:{port} cannot be reached ({why})", "look at the network, VPN and firewall")
    return None
