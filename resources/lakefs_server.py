"""A lakeFS server on this machine, for `store: lakefs` without an endpoint.

Its data, keys and log lie in the state folder. It belongs to the process that started it and ends with it. When that
process was killed, the next one that needs a server ends the one that was left over and starts its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from llm_assets import services
from llm_assets.errors import UserError
from llm_assets.terminal import console
from resources.config import StoreConfig
from resources.lakefs_client import LOCAL_SERVER, endpoint_of

PROGRAM = "lakefs"


@contextmanager
def store_server(config: StoreConfig, home: Path) -> Iterator[None]:
    """Have a server running where the recipe wants lakeFS and neither it nor the environment names one."""
    if config.kind != "lakefs" or endpoint_of(config):
        yield
        return
    service = _started(home)
    try:
        yield
    finally:
        if service is not None:
            (home / LOCAL_SERVER).unlink(missing_ok=True)
            services.stop([service])


def _started(home: Path) -> services.Service | None:
    """The server, started; None when another process has one running for this state folder."""
    folder = (home / LOCAL_SERVER).parent
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = _read(home / LOCAL_SERVER)
        if known and _alive(known["owner"]) and _alive(known["server"]):
            return None
        if known and _alive(known["server"]):
            _end(known["server"])
        program = find_program()
        keys = _read(folder / "keys.json") or {
            "key_id": f"AKIA{secrets.token_hex(8).upper()}",
            "secret": secrets.token_hex(20),
            "encryption": secrets.token_hex(20),
        }
        _write(folder / "keys.json", keys)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        command = [program, "run", "--local-settings"]
        service = services.start_program(PROGRAM, command, home, _environment(folder, address, keys))
        try:
            services.wait_for(service, f"http://{address}/_health")
        except BaseException:
            services.stop([service])
            raise
        access = {"endpoint": f"http://{address}", "key_id": keys["key_id"], "secret": keys["secret"]}
        processes = {"owner": _mark(os.getpid()), "server": _mark(service.process.pid)}
        _write(home / LOCAL_SERVER, {"access": access, **processes})
        return service


def find_program() -> str:
    """The `lakefs` program: on PATH, where the vendor's package puts it, or downloaded by that package.

    Raises UserError when there is none to be had.
    """
    places = [Path(sys.exec_prefix) / "bin" / PROGRAM, Path.home() / ".lakefs" / "bin" / PROGRAM]
    found = shutil.which(PROGRAM) or next((str(place) for place in places if os.access(place, os.X_OK)), None)
    if found:
        return found
    console.print("No `lakefs` program on PATH: the package lakefs downloads it from its releases.")
    done = subprocess.run([sys.executable, "-m", "lakefs.download"], capture_output=True, text=True, timeout=1800)
    found = next((str(place) for place in places if os.access(place, os.X_OK)), None)
    if done.returncode or not found:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing was said").splitlines()[-1]
        raise UserError(
            f"store: lakefs has no server, and none can be started here: there is no `{PROGRAM}` program on PATH, and "
            f"downloading it failed ({said}). Put it on PATH (github.com/treeverse/lakeFS/releases), or set "
            "LAKEFS_ENDPOINT to a server."
        )
    return found


def _environment(folder: Path, address: str, keys: Mapping[str, str]) -> dict[str, str]:
    """Settings of the server. With the installation's three and a local database it sets itself up."""
    settings = {
        "LISTEN_ADDRESS": address,
        "DATABASE_TYPE": "local",
        "DATABASE_LOCAL_PATH": str(folder / "server" / "metadata"),
        "BLOCKSTORE_TYPE": "local",
        "BLOCKSTORE_LOCAL_PATH": str(folder / "server" / "objects"),
        "COMMITTED_LOCAL_CACHE_DIR": str(folder / "server" / "cache"),
        "AUTH_ENCRYPT_SECRET_KEY": keys["encryption"],
        "INSTALLATION_USER_NAME": "llm-assets",
        "INSTALLATION_ACCESS_KEY_ID": keys["key_id"],
        "INSTALLATION_SECRET_ACCESS_KEY": keys["secret"],
        "STATS_ENABLED": "false",
        "EMAIL_SUBSCRIPTION_ENABLED": "false",
        "SECURITY_CHECK_LATEST_VERSION": "false",
        "LOGGING_LEVEL": "WARN",
    }
    return {**os.environ, **{f"LAKEFS_{name}": value for name, value in settings.items()}}


def _mark(pid: int) -> list[float]:
    """A process, never to be taken for a later one of the same id."""
    import psutil

    return [pid, psutil.Process(pid).create_time()]


def _alive(mark: list[float]) -> bool:
    import psutil

    try:
        process = psutil.Process(int(mark[0]))
        return process.create_time() == mark[1] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _end(mark: list[float], seconds: float = 15) -> None:
    import psutil

    process = psutil.Process(int(mark[0]))
    process.send_signal(signal.SIGINT)
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.kill()
        process.wait()


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _write(path: Path, document: Mapping[str, Any]) -> None:
    """Keys are for this user's eyes alone, from the first byte."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(document, file)
    partial.replace(path)
