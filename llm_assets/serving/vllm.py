"""`vllm serve` as a process of this one: on loopback, with a key of its own, for as long as this process lives."""

from __future__ import annotations

import ctypes
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from llm_assets.artifacts import CHECKPOINT
from llm_assets.errors import UserError
from llm_assets.serving.config import VllmConfig
from llm_assets.serving.package import Served

PROGRAM = "vllm"
END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of prctl(2)
GRACE = 10.0  # seconds to end in
POLL = 0.2  # seconds


def require_program() -> str:
    """The path of the vllm program; UserError where there is none."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise UserError(
            "serving.backend.vllm needs the program `vllm` on PATH, which is not there. Install it (pip install vllm; "
            "it needs a GPU), name a server that runs already (serving.backend.url), or leave serving.backend out."
        )
    return found


def checkpoint_of(package: Path) -> Path:
    """The checkpoint that a package holds; UserError where it holds none, or one that is no safetensors."""
    folder = package / CHECKPOINT
    if not (folder / "config.json").is_file() or not list(folder.glob("*.safetensors")):
        raise UserError(
            f"package {package} holds no checkpoint in safetensors for vLLM to serve. "
            "Set evaluation.release.checkpoint and materialize release_candidate again."
        )
    return folder


@dataclass(frozen=True)
class Place:
    """Where a server is, up to /v1; the model's name there; the headers that let in."""

    url: str
    model: str
    headers: dict[str, str]


class VllmServer:
    """One `vllm serve`, under the package's digest. Raises UserError where the program or the checkpoint is missing."""

    def __init__(self, served: Served, package: Path, settings: VllmConfig, log: Path) -> None:
        program, checkpoint = require_program(), checkpoint_of(package)
        port, self._log = _free_port(), log
        self._address, self._key = f"http://127.0.0.1:{port}", secrets.token_urlsafe(32)
        self.place = Place(f"{self._address}/v1", served.digest, {"authorization": f"Bearer {self._key}"})
        command = [
            *(program, "serve", str(checkpoint), "--served-model-name", served.digest),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--load-format", "safetensors", "--no-trust-remote-code"),
            *("--generation-config", "vllm"),  # what a request does not ask for is off, whatever the checkpoint says
            *("--max-model-len", str(served.model.context)),
            *("--gpu-memory-utilization", str(settings.gpu_memory)),
        ]
        # The key is no argument: those are for everybody to read.
        environment = {"VLLM_API_KEY": self._key, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                start_new_session=True,
                preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            )

    def wait(self, seconds: float) -> None:
        """Until it answers. UserError, with its last words, when it ends or takes too long; then it has ended."""
        import httpx

        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self._address}/health", timeout=POLL * 10, trust_env=False).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(POLL)
        ended = self._process.poll()
        self.close()
        why = f"did not answer within {seconds:g} s (serving.start_seconds)" if ended is None else f"ended ({ended})"
        raise UserError(f"vllm {why}: {self._last_words()} Log: {self._log}")

    def ended(self) -> int:
        """Its exit status, once it has ended."""
        return self._process.wait()

    def close(self) -> None:
        """End it, and what it has started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(GRACE)
            except ProcessLookupError:
                break
            except subprocess.TimeoutExpired:
                continue
        self._process.poll()

    def _last_words(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:300]


_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


def _end_with_parent() -> None:
    """In the child: to be ended when the thread that started it ends, a killed process included."""
    assert _prctl is not None
    _prctl(END_WITH_PARENT, signal.SIGTERM)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
