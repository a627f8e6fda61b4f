"""vLLM started with the endpoint. What runs as `vllm` here is `vllm_stand_in.py`, a real server of the checkpoint with
vLLM's command line: these tests check that command line, the handling of the process and what is passed on, not vLLM.
`test_real_vllm.py` drives vLLM itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import openai
import psutil
import pytest
import tiny_package
from tiny_package import free_port

from llm_assets.errors import UserError
from llm_assets.serving.config import BackendConfig, ServingConfig, VllmConfig
from resources.endpoint import Endpoint

STAND_IN = Path(__file__).with_name("vllm_stand_in.py")
TEXT = "multiply two matrices"


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    """A folder with an executable `vllm`."""
    folder = tmp_path_factory.mktemp("bin")
    root = STAND_IN.parents[2]
    (folder / "vllm").write_text(f'#!/bin/sh\nPYTHONPATH={root} exec {sys.executable} {STAND_IN} "$@"\n')
    (folder / "vllm").chmod(0o755)
    return folder


@pytest.fixture
def front(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    backend = BackendConfig(vllm=VllmConfig())
    settings = ServingConfig(port=free_port(), start_seconds=60, deadline_seconds=5, drain_seconds=1, backend=backend)
    made = Endpoint(tmp_path / "home", settings, threads=1)
    yield made
    made.stop(seconds=5)


def serve(front, package, digest):
    front.deploy(package, digest)
    front.start()
    front.wait_serving(digest)


def servers(front) -> dict[str, psutil.Process]:
    """The processes that the endpoint has started, by the digest that they serve."""
    found = psutil.Process(front.status()["pid"]).children(recursive=True)
    commands = [(process, process.cmdline()) for process in found]
    return {
        command[command.index("--served-model-name") + 1]: process
        for process, command in commands
        if "--served-model-name" in command
    }


def client_of(endpoint):
    return openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.api_key(), max_retries=0)


def ask(client, text=TEXT, model="llm-assets", **more):
    return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def test_it_serves_the_packages_checkpoint_and_ends_with_the_endpoint(front, shipped, live):
    serve(front, shipped["good"], "good-digest")
    process = servers(front)["good-digest"]
    command = process.cmdline()
    port = command[command.index("--port") + 1]
    assert command[command.index("--host") + 1] == "127.0.0.1" and "--no-trust-remote-code" in command
    assert httpx.get(f"http://127.0.0.1:{port}/v1/models").status_code == 401, "it has a key of its own"
    key = process.environ()["VLLM_API_KEY"]
    assert key != front.api_key() and key not in " ".join(command)
    schema = {
        "type": "object",
        "properties": {"n": {"enum": [1, 22]}},
        "required": ["n"],
        "additionalProperties": False,
    }
    with client_of(front) as through, client_of(live) as direct:
        for text, label in tiny_package.ROWS:
            assert ask(through, text, "llm-assets-route").choices[0].message.content == label
        for more in (
            {"temperature": 0, "logprobs": True, "top_logprobs": 3, "max_tokens": 5},
            {"temperature": 1.2, "seed": 3, "logprobs": True, "max_tokens": 8},
            {"temperature": 0, "extra_body": {"structured_outputs": {"choice": ["numpy", "pandas"]}}},
            {"temperature": 1, "seed": 5, "extra_body": {"structured_outputs": {"regex": "[0-9]{3}-[a-f]{2}"}}},
            {
                "temperature": 0,
                "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}},
            },
        ):
            got, wanted = ask(through, **more).choices[0], ask(direct, **more).choices[0]
            assert got.message == wanted.message and got.finish_reason == wanted.finish_reason, more
            same_logprobs(got.logprobs, wanted.logprobs)
        assert json.loads(got.message.content)["n"] in (1, 22)
        plain = {"model": "llm-assets", "prompt": "join two", "temperature": 0, "max_tokens": 4, "logprobs": 2}
        got, wanted = (each.completions.create(**plain).choices[0] for each in (through, direct))
        assert got.text == wanted.text and got.logprobs.tokens == wanted.logprobs.tokens
        assert got.logprobs.token_logprobs == pytest.approx(wanted.logprobs.token_logprobs, abs=1e-4)
        with pytest.raises(openai.BadRequestError, match="regex"):
            ask(through, extra_body={"structured_outputs": {"regex": "("}})
    front.stop(seconds=5)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def same_logprobs(got, wanted) -> None:
    assert (got is None) == (wanted is None)
    for one, other in zip(got.content if got else [], wanted.content if wanted else [], strict=True):
        assert one.token == other.token and one.logprob == pytest.approx(other.logprob, abs=1e-4)
        assert [top.token for top in one.top_logprobs] == [top.token for top in other.top_logprobs]


def test_a_swap_starts_the_next_before_the_last_ends(front, shipped):
    serve(front, shipped["good"], "good-digest")
    assert front.ask("follow a redirect") == "web"
    first = servers(front)["good-digest"]
    serve(front, shipped["worse"], "worse-digest")
    assert front.ask("follow a redirect") == "arrays" and "worse-digest" in servers(front)
    first.wait(timeout=60)  # when no request can need it any more
    assert front.ask("follow a redirect") == "arrays"


def test_it_ends_where_the_endpoint_is_killed(front, shipped):
    serve(front, shipped["good"], "good-digest")
    process = servers(front)["good-digest"]
    os.kill(front.status()["pid"], signal.SIGKILL)
    process.wait(timeout=60)


def test_one_that_dies_is_started_again(front, shipped):
    serve(front, shipped["good"], "good-digest")
    process = servers(front)["good-digest"]
    process.kill()
    process.wait(timeout=60)
    with client_of(front) as client, pytest.raises(openai.InternalServerError) as gone:
        ask(client)
    assert gone.value.status_code in (502, 503)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(UserError):
            assert front.ask("follow a redirect") == "web"
            break
        time.sleep(0.2)
    assert servers(front)["good-digest"].pid != process.pid


def test_what_is_missing_is_named(front, packages, shipped, tmp_path, monkeypatch):
    serve(front, shipped["good"], "good-digest")
    front.deploy(packages["worse"], "bare-digest")
    with pytest.raises(UserError, match=r"no checkpoint in safetensors.*evaluation\.release\.checkpoint"):
        front.wait_serving("bare-digest")
    large = tmp_path / "large"
    shutil.copytree(shipped["worse"], large)
    (large / "checkpoint" / "too-large").touch()
    front.deploy(large, "large-digest")
    with pytest.raises(UserError, match=r"vllm ended \(1\): CUDA out of memory"):
        front.wait_serving("large-digest")
    assert front.health()["digest"] == "good-digest", "what was serving goes on"
    front.stop(seconds=5)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UserError, match="needs the program `vllm` on PATH"):
        front.start()
    assert not front.status()["running"]


def test_a_backend_is_one_of_two():
    for wrong in ({}, {"url": "http://x/v1", "vllm": {}}, {"vllm": {}, "model": "m"}):
        with pytest.raises(ValueError, match=r"either 'url'|about a running server"):
            BackendConfig.model_validate(wrong)
