"""The endpoint: one detached server process on this machine, and the pointer that says which package it
serves.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets import huge_pages
from llm_assets.artifacts import PACKAGE, read_json, write_json
from llm_assets.errors import UserError
from llm_assets.serving.config import ServingConfig

if TYPE_CHECKING:
    from llm_assets.recipe import Recipe

SERVER = "llm_assets.serving.server"
WITHDRAWN = "withdrawn.json"
KEPT_PACKAGES = 3  # the one being served and those before it


def endpoint_of(recipe: Recipe, home: Path) -> Endpoint:
    return Endpoint(home, recipe.serving, recipe.threads)


@dataclass(frozen=True)
class Endpoint:
    """The endpoint of a state folder. Everything it does can be repeated, and done from several processes."""

    home: Path
    settings: ServingConfig
    threads: int = 2

    @property
    def folder(self) -> Path:
        return self.home / "endpoint"

    @property
    def port(self) -> int:
        return self.settings.port

    @property
    def url(self) -> str:
        host = self.settings.host if self.settings.host not in ("0.0.0.0", "::") else "127.0.0.1"
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def log(self) -> Path:
        return self.folder / "server.log"

    def api_key(self) -> str:
        from llm_assets.serving.keys import api_key

        return api_key(self.home)

    def current(self) -> dict[str, Any] | None:
        """What the pointer says: {"package", "digest", "deployed_at", "sha256"}; None when nothing is
        deployed.
        """
        from llm_assets.serving.package import read_pointer

        return read_pointer(self.folder)

    def package(self) -> dict[str, Any]:
        """What `package.json` says of the package that is deployed. Raises UserError when there is none."""
        current = self.current()
        if current is None:
            raise UserError("nothing is deployed that could be asked. Materialize deployed_endpoint first.")
        return dict(read_json(Path(current["package"]) / PACKAGE))

    def health(self) -> dict[str, Any] | None:
        """What /health says, whether ready (200) or not (503); None when nothing answers."""
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2) as reply:
                return {**json.load(reply), "ready": True}
        except urllib.error.HTTPError as error:
            try:
                return {**json.load(error), "ready": False}
            except ValueError:
                return None
        except (OSError, ValueError):
            return None

    def status(self) -> dict[str, Any]:
        """running (a server process of this folder lives), healthy (it has a model and answers), digest,
        pid, url, error (what kept the last package from being served)."""
        pid = self._pid()
        health = self.health() if pid else None
        return {
            "running": pid is not None,
            "healthy": bool(health and health["ready"]),
            "digest": health.get("digest") if health else None,
            "error": health.get("error") if health else None,
            "pid": pid,
            "url": self.url,
        }

    def start(self) -> None:
        """Start the server unless it runs; return when it answers. Raises UserError when it does not, or
        when its port belongs to something else."""
        with self._locked():
            pid = self._pid()
            if pid is not None and self._port_of(pid) != self.port:
                self._end(pid)  # the recipe has another port now
                pid = None
            if pid is None:
                self._require_free_port()
                self._require_backend()
                pid = self._spawn()
            self._await_answer(pid)

    def stop(self, seconds: float = 15) -> None:
        """End the server: requests in flight may finish for some seconds. Nothing happens when none runs."""
        with self._locked():
            pid = self._pid()
            if pid is not None:
                self._end(pid, seconds)
            self._pid_file.unlink(missing_ok=True)

    def deploy(self, package: Path, digest: str) -> None:
        """Copy `package` beside the others and swap the pointer to it; a running server takes it within a
        second.
        """
        from llm_assets.serving.package import folder_hash
        from llm_assets.serving.traffic import now

        target = self.folder / "packages" / digest
        with self._locked():
            expected = folder_hash(package)
            if not target.is_dir() or folder_hash(target) != expected:
                partial = target.with_name(f".{digest}.{uuid.uuid4().hex[:8]}")
                try:
                    shutil.copytree(package, partial, copy_function=shutil.copyfile)
                    shutil.rmtree(target, ignore_errors=True)
                    partial.replace(target)
                finally:
                    shutil.rmtree(partial, ignore_errors=True)
            pointer = {"package": str(target), "digest": digest, "deployed_at": now(), "sha256": expected}
            write_json(pointer, self.folder / "current.json")
            os.utime(target)
            self._drop_old_packages()

    def point_at(self, pointer: dict[str, Any] | None) -> None:
        """Put an earlier pointer back (None: nothing is deployed)."""
        with self._locked():
            if pointer is None:
                (self.folder / "current.json").unlink(missing_ok=True)
            else:
                write_json(pointer, self.folder / "current.json")

    def withdrawn(self) -> set[str]:
        """Digests of packages that people went back from: no run promotes them again."""
        path = self.folder / WITHDRAWN
        return set(read_json(path)) if path.is_file() else set()

    def withdraw(self, digest: str) -> None:
        with self._locked():
            write_json(sorted(self.withdrawn() | {digest}), self.folder / WITHDRAWN)

    def reinstate(self, digest: str) -> None:
        with self._locked():
            if digest in self.withdrawn():
                write_json(sorted(self.withdrawn() - {digest}), self.folder / WITHDRAWN)

    def wait_serving(self, digest: str) -> None:
        """Until /health shows `digest`. Raises UserError when the server refuses it, ends, or takes too
        long.
        """
        deployed = (self.current() or {}).get("deployed_at")
        deadline = time.monotonic() + self.settings.start_seconds
        while time.monotonic() < deadline:
            health = self.health()
            if health and health.get("error") and health.get("refused") == deployed:
                raise UserError(f"the endpoint did not take package {digest}: {health['error']}")
            if health and health.get("digest") == digest:
                return
            if self._pid() is None:
                raise UserError(f"the endpoint's process has ended. Its log: {self.log}")
            time.sleep(0.1)
        raise UserError(
            f"the endpoint did not serve {digest} within {self.settings.start_seconds:g} s. Log: {self.log}"
        )

    def ask(self, text: str) -> str:
        """The label of a text from the package that is deployed, through HTTP, logged as a probe and not as
        traffic."""
        from llm_assets.serving.asking import answer, question
        from llm_assets.serving.guard import PROBE_HEADER
        from llm_assets.serving.package import ROUTE

        path, body = question(self.package(), ROUTE, text)
        headers = {
            "authorization": f"Bearer {self.api_key()}",
            "content-type": "application/json",
            PROBE_HEADER: "deployment",
        }
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.settings.deadline_seconds) as reply:
                return answer(json.load(reply))
        except urllib.error.HTTPError as error:
            raise UserError(f"the endpoint refused a request ({error.code}): {error.read(2000).decode()}") from None
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"the endpoint at {self.url} did not answer: {error}. Its log: {self.log}") from None

    @property
    def _pid_file(self) -> Path:
        return self.folder / "endpoint.pid"

    def _pid(self) -> int | None:
        """The server's process; None when the file's process is gone, or is another program by now."""
        import psutil

        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
            process = psutil.Process(pid)
            command = process.cmdline()
            for _ in range(50):
                if command or process.status() == psutil.STATUS_ZOMBIE:
                    break
                time.sleep(0.02)  # a process in the middle of exec has no command line for a moment
                command = process.cmdline()
            ours = SERVER in command and str(self.home) in command
            return pid if ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (FileNotFoundError, ValueError, psutil.Error):
            return None

    def _port_of(self, pid: int) -> int | None:
        import psutil

        try:
            command = psutil.Process(pid).cmdline()
            return int(command[command.index("--port") + 1])
        except (psutil.Error, ValueError, IndexError):
            return None

    def _require_free_port(self) -> None:
        with socket.socket(socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((self.settings.host, self.port))
            except OSError as error:
                raise UserError(
                    f"port {self.port} on {self.settings.host}, wanted for the endpoint, cannot be used "
                    f"({error.strerror}). Stop what uses it, or choose another port "
                    "with `--set serving.port=N`."
                ) from None

    def _require_backend(self) -> None:
        from llm_assets.serving.vllm import require_program

        if self.settings.backend and self.settings.backend.vllm:
            require_program()

    def _spawn(self) -> int:
        write_json(self.settings.model_dump(mode="json"), self.folder / "settings.json")
        self.api_key()
        arguments = ["--home", str(self.home), "--host", self.settings.host, "--port", str(self.port)]
        with self.log.open("ab") as output:
            # Detached: it outlives the run that deploys to it, and a Ctrl-C in that run's terminal.
            process = subprocess.Popen(
                [sys.executable, "-m", SERVER, *arguments, "--threads", str(self.threads)],
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                cwd=Path(__file__).resolve().parent.parent,
                env=os.environ | {"PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false"} | huge_pages.asking(),
            )
        partial = self._pid_file.with_suffix(".partial")
        partial.write_text(str(process.pid), encoding="ascii")
        partial.replace(self._pid_file)
        return process.pid

    def _await_answer(self, pid: int) -> None:
        deadline = time.monotonic() + self.settings.start_seconds
        while time.monotonic() < deadline:
            _reap(pid)
            if self._pid() is None:
                raise UserError(f"the endpoint's process ended while starting: {self._last_words()} Log: {self.log}")
            health = self.health()
            if health and health["status"] != "loading":
                return
            time.sleep(0.1)
        raise UserError(f"the endpoint did not answer within {self.settings.start_seconds:g} s. Its log: {self.log}")

    def _last_words(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
        try:
            return str(json.loads(lines[-1])["message"])[:300]
        except (ValueError, KeyError, TypeError):
            return lines[-1][:300]

    def _end(self, pid: int, seconds: float = 15) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline:
                _reap(pid)
                if self._pid() != pid:
                    return
                time.sleep(0.05)

    def _drop_old_packages(self) -> None:
        folders = [path for path in (self.folder / "packages").iterdir() if path.is_dir()]
        for path in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_PACKAGES:]:
            shutil.rmtree(path, ignore_errors=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time starts, stops or swaps."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield


def _reap(pid: int) -> None:
    """A server that this very process started and that has ended must not stay a zombie."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
