"""What happens to the endpoint when things go wrong, and while its model is swapped."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import openai
import pytest
import tiny_package

from llm_assets.errors import UserError
from llm_assets.serving.config import ServingConfig
from resources.endpoint import Endpoint

TEXT, LABEL = tiny_package.ROWS[0]
WEB = tiny_package.ROWS[-1][0]


def ask(text: str) -> list:
    return [{"role": "user", "content": text}]


def with_settings(endpoint: Endpoint, **changes) -> Endpoint:
    return Endpoint(endpoint.home, ServingConfig(**(endpoint.settings.model_dump() | changes)), endpoint.threads)


def serve(endpoint: Endpoint, package, digest: str = "digest-1") -> None:
    endpoint.deploy(package, digest)
    endpoint.start()
    endpoint.wait_serving(digest)


def test_without_a_model_it_says_so(endpoint):
    endpoint.start()
    health = endpoint.health()
    assert (health["ready"], health["status"], health["digest"]) == (False, "no model", None)
    reply = httpx.get(f"{endpoint.url}/v1/models", headers={"authorization": f"Bearer {endpoint.api_key()}"})
    assert reply.status_code == 503 and reply.json()["error"]["code"] == "model_not_ready"
    status = endpoint.status()
    assert status["running"] and not status["healthy"]


def test_hot_swaps_under_load_fail_no_request(endpoint, packages):
    serve(endpoint, packages["good"], "good-digest")
    expected = {"good-digest": "web", "worse-digest": "arrays"}
    stop, seen, wrong = threading.Event(), set(), []

    async def load():
        async with openai.AsyncOpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.api_key(), max_retries=0) as many:

            async def one(at: int):
                while not stop.is_set():
                    reply = await many.chat.completions.create(
                        model="llm-assets-route",
                        messages=ask(WEB),
                        temperature=0.0 if at % 2 else 0.001,
                        seed=at,
                    )
                    seen.add(reply.system_fingerprint)
                    if reply.choices[0].message.content != expected[reply.system_fingerprint]:
                        wrong.append(reply)

            await asyncio.gather(*(one(at) for at in range(6)))

    failure: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(load())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        for digest in ["worse-digest", "good-digest"] * 3:
            endpoint.deploy(packages[digest.removesuffix("-digest")], digest)
            endpoint.wait_serving(digest)
            time.sleep(0.1)
    finally:
        stop.set()
        thread.join(20)
    assert not failure, failure
    assert not wrong, "a reply must come from the model it names, cached or not"
    assert seen == {"good-digest", "worse-digest"}


def test_a_bad_package_leaves_the_old_one_serving(endpoint, packages):
    serve(endpoint, packages["good"], "good-digest")
    endpoint.deploy(packages["broken"], "broken-digest")
    with pytest.raises(UserError, match="broken-digest"):
        endpoint.wait_serving("broken-digest")
    health = endpoint.health()
    assert health["ready"] and health["digest"] == "good-digest" and "cannot be loaded" in health["error"]
    assert endpoint.ask(TEXT) == LABEL
    endpoint.deploy(packages["worse"], "worse-digest")
    endpoint.wait_serving("worse-digest")
    assert endpoint.health()["error"] is None


def test_a_package_changed_on_disk_is_not_served(endpoint, packages):
    endpoint.deploy(packages["good"], "good-digest")
    model = endpoint.folder / "packages" / "good-digest" / "model.onnx"
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    model.write_bytes(content)
    endpoint.start()
    assert "is not what was deployed" in endpoint.health()["error"]
    endpoint.deploy(packages["good"], "good-digest")  # deploying again mends it
    endpoint.wait_serving("good-digest")


def test_a_damaged_pointer_is_named(endpoint, packages):
    serve(endpoint, packages["good"])
    (endpoint.folder / "current.json").write_text("{")
    time.sleep(0.8)
    health = endpoint.health()
    assert health["ready"] and "damaged" in health["error"]
    with pytest.raises(UserError, match="damaged"):
        endpoint.current()


def test_overload_is_told_429_and_the_rest_is_served(endpoint, packages):
    small = with_settings(endpoint, queue_limit=2, max_batch=1)
    serve(small, packages["good"])

    async def flood():
        headers = {"authorization": f"Bearer {small.api_key()}"}
        async with httpx.AsyncClient(base_url=small.url, headers=headers, timeout=30) as http:
            body = {"model": "llm-assets", "messages": ask(TEXT), "temperature": 2, "max_tokens": 200}
            return await asyncio.gather(*(http.post("/v1/chat/completions", json=body) for _ in range(40)))

    replies = asyncio.run(flood())
    codes = {reply.status_code for reply in replies}
    assert codes == {200, 429}
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert refused.headers["retry-after"] == "1" and refused.json()["error"]["code"] == "queue_full"
    assert small.ask(TEXT) == LABEL


def test_deadline(endpoint, packages):
    hasty = with_settings(endpoint, deadline_seconds=0.01)
    hasty.deploy(packages["good"], "digest-1")
    hasty.start()
    hasty.wait_serving("digest-1")
    headers = {"authorization": f"Bearer {hasty.api_key()}"}
    body = {
        "model": "llm-assets",
        "messages": ask(TEXT),
        "temperature": 2,
        "max_tokens": 200,
        "ignore_eos": True,
        "n": 8,
    }
    with httpx.Client(base_url=hasty.url, headers=headers) as http:
        for _ in range(50):
            reply = http.post("/v1/chat/completions", json=body)
            if reply.status_code != 408:  # the body itself came too late
                break
        assert reply.status_code == 504 and reply.json()["error"]["code"] == "deadline_exceeded"
        for _ in range(50):
            with http.stream("POST", "/v1/chat/completions", json=body | {"stream": True}) as stream:
                lines = [line for line in stream.iter_lines() if line]
            if stream.status_code != 408:
                break
        assert '"code":"deadline_exceeded"' in lines[-1] and "data: [DONE]" not in lines


def test_port_in_use_is_named_with_the_fix(endpoint):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", endpoint.port))
        other.listen()
        with pytest.raises(UserError, match=rf"port {endpoint.port}.*serving\.port"):
            endpoint.start()
    assert not endpoint.status()["running"]


def test_start_and_stop_can_be_repeated_and_survive_stale_pids(endpoint, packages):
    endpoint.stop()
    endpoint.folder.mkdir(parents=True, exist_ok=True)
    (endpoint.folder / "endpoint.pid").write_text(str(os.getpid()))  # now another program's
    assert not endpoint.status()["running"]
    serve(endpoint, packages["good"])
    pid = endpoint.status()["pid"]
    endpoint.start()
    assert endpoint.status()["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    time.sleep(0.3)
    assert not endpoint.status()["running"]
    endpoint.start()
    assert endpoint.status()["healthy"] and endpoint.status()["pid"] != pid
    endpoint.stop()
    endpoint.stop()
    assert not endpoint.status()["running"] and endpoint.current()["digest"] == "digest-1"


def test_it_outlives_the_process_that_started_it(endpoint, packages):
    endpoint.deploy(packages["good"], "digest-1")
    code = (
        "import sys; from pathlib import Path; from resources.endpoint import Endpoint;"
        "from llm_assets.serving.config import ServingConfig;"
        "Endpoint(Path(sys.argv[1]), ServingConfig(port=int(sys.argv[2])), 1).start()"
    )
    subprocess.run([sys.executable, "-c", code, str(endpoint.home), str(endpoint.port)], check=True, timeout=60)
    assert endpoint.status()["healthy"]


def test_sigterm_lets_streams_end(endpoint, packages):
    serve(endpoint, packages["good"])
    client = openai.OpenAI(base_url=f"{endpoint.url}/v1", api_key=endpoint.api_key(), max_retries=0)
    stream = client.chat.completions.create(
        model="llm-assets", messages=ask(TEXT), temperature=2, seed=1, max_tokens=200, stream=True
    )
    first = next(iter(stream))
    os.kill(endpoint.status()["pid"], signal.SIGTERM)
    rest = list(stream)
    assert first.id == rest[-1].id and rest[-1].choices[0].finish_reason in ("stop", "length")
