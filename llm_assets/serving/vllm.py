"""`vllm serve` as a process of this one: on loopback, with a key of its own, for as long as this process lives."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from llm_assets.artifacts import CHECKPOINT
from llm_assets.errors import UserError
from llm_assets.serving.config import VllmConfig
from llm_assets.serving.package import Served

PROGRAM = "vllm"
# The first process of vLLM's group. It reads until this process has ended, in whatever way, and then ends the group.
# A killed process of vLLM's leaves those that it started, and they the memory that they hold; while it loads, it lets
# a SIGTERM wait.
WATCH = "trap '' TERM; read -r _; kill -TERM 0; sleep 10; kill -KILL 0"
# The library of our own engine; and no white space, which a reply could go on with for ever.
CONSTRAINTS = '{"backend": "guidance", "disable_any_whitespace": true}'
CAUSE = re.compile(  # in its log: an error at the beginning of a line, and what is indented below
    r"^(?:\(\w+ pid=\d+\) )?(?:ERROR \S+ \S+ \[\S+\] )?((?:\w+\.)*\w+(?:Error|Exception): .+(?:\n +\S.*)?)",
    re.MULTILINE,
)
GRACE = 10.0  # seconds to end in
POLL = 0.2  # seconds


def require_program() -> str:
    """The path of the vllm program; UserError where there is none."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise UserError(
            "serving.backend.vllm needs the program `vllm` on PATH, which is not there. Install it (pip install vllm, "
            "for a GPU), name a server that runs already (serving.backend.url), or leave serving.backend out."
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
    """One `vllm serve`, under the package's digest. Raises UserError where the program or the checkpoint is missing.

    ready: whether it has answered, and has not ended since.
    """

    def __init__(self, served: Served, package: Path, settings: VllmConfig, log: Path) -> None:
        program, checkpoint = require_program(), checkpoint_of(package)
        port, self._log, self.ready = _free_port(), log, False
        self._address, self._key = f"http://127.0.0.1:{port}", secrets.token_urlsafe(32)
        self.place = Place(f"{self._address}/v1", served.digest, {"authorization": f"Bearer {self._key}"})
        command = [
            *(program, "serve", str(checkpoint), *settings.arguments),  # of an option given twice, the last counts
            *("--served-model-name", served.digest),
            *("--host", "127.0.0.1", "--port", str(port)),
            *("--load-format", "safetensors", "--no-trust-remote-code"),
            *("--generation-config", "vllm"),  # what a request does not ask for is off, whatever the checkpoint says
            *("--max-model-len", str(served.model.context)),
            *("--gpu-memory-utilization", str(settings.gpu_memory)),
            *("--structured-outputs-config", CONSTRAINTS),
        ]
        # The key is no argument: those are for everybody to read.
        environment = {"VLLM_API_KEY": self._key, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1"}
        with log.open("ab") as output:
            self._begun = output.tell()
            self._watch = subprocess.Popen(["sh", "-c", WATCH], stdin=subprocess.PIPE, process_group=0)
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ | environment,
                process_group=self._watch.pid,
            )

    def wait(self, seconds: float) -> None:
        """Until it answers. UserError, with its last words, when it ends or takes too long; then it has ended."""
        import httpx

        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self._address}/health", timeout=POLL * 10, trust_env=False).status_code == 200:
                    self.ready = True
                    return
            except httpx.HTTPError:
                pass
            time.sleep(POLL)
        ended = self._process.poll()
        self.close()
        why = f"did not answer within {seconds:g} s (serving.start_seconds)" if ended is None else f"ended ({ended})"
        raise UserError(f"vllm {why}: {self._last_words()} Log: {self._log}")

    def ended(self) -> int:
        """Its exit status, once it has ended, and with it all that it has started."""
        status = self._process.wait()
        self.ready = False
        self._kill()
        return status

    def close(self) -> None:
        """End it, and what it has started."""
        self._signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        self._kill()
        self._process.wait()

    def _kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._watch.communicate()

    def _signal(self, number: int) -> None:
        if self._watch.poll() is None:  # else the number of its group may be another's by now
            os.killpg(self._watch.pid, number)

    def _last_words(self) -> str:
        """The first error it told of, which the others follow from; else its last line."""
        told = self._log.read_bytes()[self._begun :].decode(errors="replace")
        if cause := CAUSE.search(told):
            return " ".join(cause[1].split())[:300]
        return next((line.strip() for line in reversed(told.split("\n")) if line.strip()), "")[:300]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
