"""Every engine that is measured: how it is started, and how a cell is run on it. Each has its own process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from .client import drive_http
from .models import Prepared
from .workload import Cell, Sample

ROOT = Path(__file__).resolve().parents[2]
THREADS = 2
LLAMA_SECONDS = 20  # in which llama.cpp's server answers, or never does
Run = Callable[[Cell], list[Sample]]


@dataclass(frozen=True)
class Peers:
    """The environment of the engines that the product does not install."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def llama(self) -> Path:
        """Where llama.cpp was built: its libraries and its server."""
        return self.folder / "llama.cpp" / "bin"


@dataclass(frozen=True)
class Contender:
    """group: the weights' precision, within which contenders are compared. kind: "ours", "llama-server", or a module of
    `engines`. form: what of a `Prepared` it loads."""

    name: str
    group: str
    kind: str
    form: str
    slow: bool = False  # measured in the first round only, with fewer requests

    @contextmanager
    def running(self, model: Prepared, peers: Peers) -> Iterator[Run]:
        start = {"ours": ours, "llama-server": llama_server}.get(self.kind)
        if start:
            with start(model, model.path(self.form), peers) as run:
                yield run
        else:
            python = peers.python if self.kind in PEER_MODULES else Path(sys.executable)
            with in_process(self.kind, model, model.path(self.form), python, peers) as run:
                yield run


PEER_MODULES = ("llama_cpp_library", "openvino")
CONTENDERS = (
    Contender("llm-assets", "int8", "ours", "package-int8"),
    Contender("llama-server Q8_0", "int8", "llama-server", "Q8_0.gguf"),
    Contender("llama.cpp library Q8_0", "int8", "llama_cpp_library", "Q8_0.gguf"),
    Contender("openvino-genai Q8_0", "int8", "openvino", "Q8_0.gguf"),
    Contender("onnxruntime-genai", "int8", "ort_genai", "genai-int8"),
    Contender("llm-assets", "int4", "ours", "package-int4"),
    Contender("llama-server Q4_0", "int4", "llama-server", "Q4_0.gguf"),
    Contender("llama.cpp library Q4_0", "int4", "llama_cpp_library", "Q4_0.gguf"),
    Contender("openvino-genai Q4_0", "int4", "openvino", "Q4_0.gguf"),
    Contender("onnxruntime-genai", "int4", "ort_genai", "genai-int4"),
    Contender("transformers generate", "fp32", "transformers_generate", "checkpoint", slow=True),
    Contender("transformers batching", "fp32", "transformers_batching", "checkpoint", slow=True),
)


@contextmanager
def in_process(module: str, model: Prepared, path: Path, python: Path, peers: Peers) -> Iterator[Run]:
    command = [str(python), "-m", f"{__package__}.worker", module, str(path), str(THREADS), str(model.vocab)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=_environment(peers),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

        def answer() -> str:
            assert process.stdout
            if line := process.stdout.readline():
                return line
            errors.seek(0)
            raise RuntimeError(f"{module} ended: {errors.read()[-2000:].decode(errors='replace')}")

        def run(cell: Cell) -> list[Sample]:
            print(json.dumps(asdict(cell)), file=process.stdin, flush=True)
            return [Sample(**sample) for sample in json.loads(answer())]

        try:
            answer()
            yield run
        finally:
            process.kill()
            process.wait()


@contextmanager
def llama_server(model: Prepared, path: Path, peers: Peers) -> Iterator[Run]:
    """llama.cpp's own server, with 16 slots that it batches continuously."""
    # Laid out for AMX, it never answers on some virtual machines; there it is measured without that.
    url, process = _started(path, peers) or _started(path, peers, "--no-repack") or (None, None)
    if process is None:
        raise RuntimeError(f"llama-server did not answer within {LLAMA_SECONDS} s of its start with {path}")
    try:
        yield lambda cell: drive_http(url, cell.prompts(model.vocab), cell.concurrency, {"cache_prompt": False}, {})
    finally:
        process.kill()
        process.wait()


def _started(path: Path, peers: Peers, *more: str) -> tuple[str, subprocess.Popen[bytes]] | None:
    """llama-server's address and process; None where it does not answer in time."""
    port = free_port()
    command = [
        *(str(peers.llama / "llama-server"), "--model", str(path), "--host", "127.0.0.1", "--port", str(port)),
        *("--threads", str(THREADS), "--threads-batch", str(THREADS), "--parallel", "16", "--ctx-size", "8192"),
        *("--no-webui", "--log-disable", "--cache-ram", "0", *more),
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    for _ in range(10 * LLAMA_SECONDS):
        try:
            urllib.request.urlopen(f"{url}/health", timeout=2).read()
            return url, process
        except OSError:
            time.sleep(0.1)
    process.kill()
    process.wait()
    return None


@contextmanager
def ours(model: Prepared, path: Path, peers: Peers) -> Iterator[Run]:
    """The product's server as `llm-assets` starts it, with its default settings."""
    with serving(path) as (url, headers):
        body = {"model": "llm-assets"}
        yield lambda cell: drive_http(url, cell.prompts(model.vocab), cell.concurrency, body, headers)


@contextmanager
def serving(package: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The product's server with a package: its address, and the header that it wants."""
    from llm_assets.serving.config import ServingConfig
    from resources.endpoint import Endpoint

    home = Path(tempfile.mkdtemp(prefix="llm-assets-bench-"))
    endpoint = Endpoint(home, ServingConfig(port=free_port()), THREADS)
    try:
        endpoint.deploy(package, "benchmark")
        endpoint.start()
        endpoint.wait_serving("benchmark")
        yield endpoint.url, {"authorization": f"Bearer {endpoint.api_key()}"}
    finally:
        endpoint.stop(seconds=5)
        shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _environment(peers: Peers) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": str(THREADS), "LLAMA_CPP_LIB_PATH": str(peers.llama.absolute())}
