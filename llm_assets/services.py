"""The processes that `llm-assets up` keeps running: Dagster's webserver and daemon."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llm_assets.errors import UserError
from llm_assets.recipe import PROJECT


@dataclass(frozen=True)
class Service:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def alive(self) -> bool:
        return self.process.poll() is None


def require_free_port(port: int, what: str, option: str) -> None:
    """Raise UserError when something else listens on `port` of the loopback interface."""
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise UserError(
                f"port {port}, wanted for {what}, is in use by another process. Stop that process, or choose another "
                f"port with {option}."
            )


def start(name: str, module: str, arguments: Sequence[str], home: Path) -> Service:
    """Start `python -m module arguments` with its output in the state folder's `logs/`."""
    return start_program(name, [sys.executable, "-m", module, *arguments], home, os.environ)


def start_program(name: str, command: Sequence[str], home: Path, environment: Mapping[str, str]) -> Service:
    """Start a program with its output in the state folder's `logs/`."""
    log = home / "logs" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        # Its own group: Ctrl-C in the terminal reaches us alone, and we stop the services in order.
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=PROJECT,
            start_new_session=True,
            env={**environment, "PYTHONUNBUFFERED": "1"},
        )
    return Service(name, process, log)


def start_webserver(home: Path, port: int) -> Service:
    return start(
        "webserver",
        "dagster_webserver",
        ["-w", str(PROJECT / "workspace.yaml"), "-h", "127.0.0.1", "-p", str(port), "--log-level", "warning"],
        home,
    )


def start_daemon(home: Path) -> Service:
    return start(
        "daemon",
        "dagster._daemon",
        ["run", "-w", str(PROJECT / "workspace.yaml"), "--log-level", "info"],
        home,
    )


def wait_for(service: Service, url: str, seconds: float = 60) -> None:
    """Until `url` answers. Raises UserError when the service ends or does not answer in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not service.alive():
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise UserError(f"the {service.name} did not answer at {url}. Its log: {service.log}")


def stop(services: Sequence[Service], seconds: float = 15) -> None:
    """End each service and everything it started; kill what does not end in time."""
    for service in services:
        _signal(service, signal.SIGINT)
    deadline = time.monotonic() + seconds
    for service in services:
        with suppress(subprocess.TimeoutExpired):
            service.process.wait(max(deadline - time.monotonic(), 0.1))
        _signal(service, signal.SIGKILL)  # what is left of its group
        service.process.wait()


def _signal(service: Service, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(service.process.pid, number)
