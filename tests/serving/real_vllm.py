"""vLLM itself, started by an endpoint, and what tests of it ask of both."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import openai
import psutil
import pytest
from tiny_package import free_port
from waiting import until

from llm_assets.serving.config import BackendConfig, ServingConfig, VllmConfig
from resources.endpoint import Endpoint

PROGRAM = os.environ.get("LLM_ASSETS_TEST_VLLM") or shutil.which("vllm")
NEEDED = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PROGRAM, reason="needs vLLM: `make test-vllm` installs it; or name its program in LLM_ASSETS_TEST_VLLM"
    ),
]
PATIENCE = 200  # seconds; vLLM takes about 30 to load
LONG = {"temperature": 1.5, "max_tokens": 240, "stream": True, "extra_body": {"ignore_eos": True}}
# In 32 bits, so that its greedy replies are those of our own engine on the same weights.
VLLM = VllmConfig(gpu_memory=0.1, arguments=["--dtype", "float32", "--enforce-eager"])


def endpoint_before(backend: BackendConfig, home: Path) -> Endpoint:
    settings = ServingConfig(port=free_port(), start_seconds=PATIENCE, deadline_seconds=20, backend=backend)
    return Endpoint(home, settings, threads=1)


def start(front, package, digest="good-digest"):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{Path(PROGRAM or '').parent}:{os.environ['PATH']}")
        front.deploy(package, digest)
        front.start()
        front.wait_serving(digest)


def client_of(endpoint):
    return openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.api_key(), max_retries=0)


def ask(client, text="multiply two matrices", model="llm-assets", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def vllm_of(endpoint) -> psutil.Process:
    """The newest `vllm serve` of an endpoint."""
    found = psutil.Process(endpoint.status()["pid"]).children(recursive=True)
    return max((each for each in found if "--served-model-name" in each.cmdline()), key=psutil.Process.create_time)


def address_of(process) -> str:
    command = process.cmdline()
    return f"http://127.0.0.1:{command[command.index('--port') + 1]}"


def alive(processes) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]


class Reader(threading.Thread):
    """Reads a long reply to its end, or to the error that ends it."""

    def __init__(self, endpoint) -> None:
        super().__init__(daemon=True)
        self.endpoint, self.chunks, self.error = endpoint, [], None
        self.start()
        until(lambda: len(self.chunks) > 3 or self.error, "the reply has begun", 20)

    def run(self) -> None:
        try:
            with client_of(self.endpoint) as client:
                for chunk in ask(client, **LONG):
                    self.chunks.append(chunk)
        except openai.OpenAIError as error:
            self.error = error
