"""SIGTERM: nothing new comes in, what runs ends, and the exit status says that all is well."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import httpx
import psutil
import tiny_package
from test_soak import gauge
from waiting import until

from llm_assets.serving.config import ServingConfig
from resources.endpoint import Endpoint

WAITING, RUNNING = "vllm:num_requests_waiting{", "vllm:num_requests_running{"
TEXT, LABEL = tiny_package.ROWS[0]
LONG = {
    "model": "llm-assets", "messages": [{"role": "user", "content": "on and on"}], "temperature": 1.5,
    "max_tokens": 200, "ignore_eos": True,
}  # fmt: skip


def serve(endpoint: Endpoint, packages, **changes) -> Endpoint:
    # On a slow machine fifty streams take their time: none is to be refused as one that would come too late.
    settings = ServingConfig(**(endpoint.settings.model_dump() | {"deadline_seconds": 600} | changes))
    made = Endpoint(endpoint.home, settings, endpoint.threads)
    made.deploy(packages["good"], "good-digest")
    made.start()
    made.wait_serving("good-digest")
    return made


async def streams(endpoint: Endpoint, count: int, on_all_open, **asked) -> list[list[str]]:
    """The lines of `count` streams; `on_all_open` is awaited once all have been taken in."""
    opened, headers = asyncio.Semaphore(0), {"authorization": f"Bearer {endpoint.api_key()}"}
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=endpoint.url, headers=headers, timeout=600, limits=limits) as http:

        async def one(at: int) -> list[str]:
            lines = []
            body = LONG | {"seed": at, "stream": True} | asked
            async with http.stream("POST", "/v1/chat/completions", json=body) as reply:
                assert reply.status_code == 200
                opened.release()
                async for line in reply.aiter_lines():
                    if line:
                        lines.append(line.removeprefix("data: "))
            return lines

        async def watch() -> None:
            for _ in range(count):
                await opened.acquire()
            await on_all_open(http)

        return (await asyncio.gather(watch(), *(one(at) for at in range(count))))[1:]


def exit_status(endpoint: Endpoint, pid: int) -> int:
    """The server's own, which this process has started."""
    return psutil.Process(pid).wait(timeout=120)


def test_sigterm_during_fifty_streams(endpoint, packages):
    live = serve(endpoint, packages, max_batch=8, queue_limit=200, drain_seconds=300)
    pid, seen = live.status()["pid"], {}

    async def end(http: httpx.AsyncClient) -> None:
        os.kill(pid, signal.SIGTERM)
        await asyncio.to_thread(until, lambda: live.health()["status"] == "draining", "the server drains")
        seen["health"] = (await http.get("/health")).status_code
        seen["new"] = await http.post("/v1/chat/completions", json=LONG)

    found = asyncio.run(streams(live, 50, end, n=4))  # enough to be under way still when the signal comes
    assert seen["health"] == 503
    assert seen["new"].status_code == 503 and seen["new"].json()["error"]["code"] == "shutting_down"
    assert int(seen["new"].headers["retry-after"]) >= 1
    assert [lines[-1] for lines in found] == ["[DONE]"] * 50
    assert {json.loads(lines[-2])["choices"][0]["finish_reason"] for lines in found} == {"length"}
    assert exit_status(live, pid) == 0


def test_what_takes_longer_than_the_grace_is_told(endpoint, packages):
    live = serve(endpoint, packages, max_batch=1, drain_seconds=0, queue_limit=1000, max_choices=64)
    pid = live.status()["pid"]

    async def end(http: httpx.AsyncClient) -> None:
        before = gauge(live, WAITING)
        whole = asyncio.create_task(http.post("/v1/chat/completions", json=LONG | {"n": 64}))
        await asyncio.to_thread(until, lambda: gauge(live, WAITING) > before, "the whole reply waits too")
        os.kill(pid, signal.SIGTERM)
        reply = await whole
        assert reply.status_code == 503 and reply.json()["error"]["code"] == "shutting_down"

    found = asyncio.run(streams(live, 50, end, n=8))  # 400 rows, one at a time: however fast, most are left
    ends = [lines[-1] for lines in found]
    told = [json.loads(line)["error"]["code"] for line in ends if line != "[DONE]"]
    assert len(told) > 10 and set(told) == {"shutting_down"}
    assert exit_status(live, pid) == 0


def test_an_idle_server_ends_at_once(endpoint, packages):
    live = serve(endpoint, packages, drain_seconds=300)
    assert live.ask(TEXT) == LABEL
    pid = live.status()["pid"]
    with httpx.Client(base_url=live.url, headers={"authorization": f"Bearer {live.api_key()}"}) as kept:
        kept.get("/v1/models")  # an open connection without a request holds nothing up
        os.kill(pid, signal.SIGTERM)
        assert exit_status(live, pid) == 0


def test_a_client_that_leaves_frees_its_rows_and_a_stream_that_never_began_too(endpoint, packages):
    live = serve(endpoint, packages, max_batch=2)

    async def leave() -> None:
        headers = {"authorization": f"Bearer {live.api_key()}"}
        body = json.dumps(LONG | {"stream": True}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: {headers['authorization']}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        for at in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", live.port)
            writer.write(head.encode() + (body if at % 2 else json.dumps(LONG).encode().ljust(len(body))))
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    asyncio.run(leave())
    until(lambda: gauge(live, RUNNING) + gauge(live, WAITING) == 0, "no row is left", seconds=5)
    assert psutil.Process(live.status()["pid"]).is_running() and live.ask(TEXT) == LABEL
