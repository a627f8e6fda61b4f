"""The processes of vLLM itself: swapped, ended, killed. None may outlive the endpoint or its own first process."""

from __future__ import annotations

import os
import shutil
import signal
import threading
from contextlib import suppress

import openai
import psutil
import pytest
from real_vllm import NEEDED, PATIENCE, VLLM, Reader, alive, ask, client_of, endpoint_before, start, vllm_of
from waiting import until

from llm_assets.errors import UserError
from llm_assets.serving.config import BackendConfig

pytestmark = NEEDED


@pytest.fixture
def endpoint(tmp_path):
    made = endpoint_before(BackendConfig(vllm=VLLM), tmp_path / "home")
    yield made
    made.stop()


def test_a_swap_and_the_end(endpoint, shipped, tmp_path):
    """What vLLM cannot load is told, with its reason. The next model's vLLM takes over and the last one's ends; a stop
    lets a reply go on to its end."""
    start(endpoint, shipped["good"])
    old = processes(endpoint)
    shutil.copytree(shipped["worse"], tmp_path / "cut")
    os.truncate(tmp_path / "cut" / "checkpoint" / "model.safetensors", 60_000)
    with pytest.raises(UserError, match="SafetensorError"):
        start(endpoint, tmp_path / "cut", "cut-digest")
    assert endpoint.ask("follow a redirect") == "web"
    start(endpoint, shipped["worse"], "worse-digest")
    assert endpoint.ask("follow a redirect") == "arrays" and vllm_of(endpoint) != old[0]
    until(lambda: not alive(old), "nothing is left of the old one", 60)
    last = processes(endpoint)
    reader = Reader(endpoint)
    endpoint.stop()
    reader.join(30)
    assert reader.error is None and reader.chunks[-1].choices[0].finish_reason == "length"
    assert not alive(last)


@pytest.mark.parametrize("victim", ["vllm", "EngineCor"])
def test_one_that_dies_is_started_again(endpoint, shipped, victim):
    """Killed in the middle of a reply is its first process, which would leave the engine, or the engine."""
    start(endpoint, shipped["good"])
    old = processes(endpoint)
    reader = Reader(endpoint)
    next(each for each in old if victim in each.name()).kill()
    reader.join(30)
    assert isinstance(reader.error, openai.APIError), "a reply that is cut off is no reply"
    until(lambda: not alive(old), "nothing is left of the old one", 60)

    def told():
        with client_of(endpoint) as client, pytest.raises(openai.InternalServerError) as away:
            ask(client)
        return away.value.status_code == 503 and away.value.code == "model_not_ready"

    until(told, "requests are told that it is away", 10)
    until(lambda: answers(endpoint), "it is there again", PATIENCE, pause=0.2)
    last = processes(endpoint)
    os.kill(endpoint.status()["pid"], signal.SIGKILL)
    until(lambda: not alive(last), "nothing is left", 30)


def test_nothing_is_left_where_the_endpoint_is_killed_while_vllm_loads(endpoint, shipped):
    def serve():
        with suppress(UserError):
            start(endpoint, shipped["good"])

    starting = threading.Thread(target=serve, daemon=True)
    starting.start()
    until(lambda: endpoint.status()["pid"], "the endpoint's process is there", 30)
    pid, started = endpoint.status()["pid"], []

    def loading():
        with suppress(psutil.NoSuchProcess):
            started[:] = psutil.Process(pid).children(recursive=True)
            return any("EngineCor" in each.name() for each in started)
        return False

    until(loading, "vLLM's engine loads", 60)
    os.kill(pid, signal.SIGKILL)
    starting.join(60)
    until(lambda: not alive(started), "nothing is left", 30)


def processes(endpoint) -> list[psutil.Process]:
    """Those of the newest vLLM, its first one first."""
    first = vllm_of(endpoint)
    rest = first.children(recursive=True)
    assert rest, "the engine is a process of its own"
    return [first, *rest]


def answers(endpoint) -> bool:
    with suppress(UserError):
        return endpoint.ask("follow a redirect") == "web"
    return False
