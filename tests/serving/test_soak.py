"""The server under more than it can do: overload, clients that leave, swaps without end. Minutes, so marked slow."""

from __future__ import annotations

import asyncio
import time

import httpx
import psutil
import pytest
import tiny_package
from load_client import Answer, leave_after_first_bytes, post, request_bytes

from llm_assets.serving.config import ServingConfig
from resources.endpoint import Endpoint

pytestmark = pytest.mark.slow
LONG = {"model": "llm-assets", "prompt": "count", "max_tokens": 200, "ignore_eos": True, "temperature": 0.8}


def start(endpoint: Endpoint, package, **settings) -> Endpoint:
    made = Endpoint(endpoint.home, ServingConfig(**(endpoint.settings.model_dump() | settings)), endpoint.threads)
    made.deploy(package, "good-digest")
    made.start()
    made.wait_serving("good-digest")
    return made


def gauge(endpoint: Endpoint, name: str) -> float:
    lines = httpx.get(f"{endpoint.url}/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(name)).split()[-1])


def process(endpoint: Endpoint) -> psutil.Process:
    return psutil.Process(endpoint.status()["pid"])


async def closed_loop(endpoint: Endpoint, clients: int, seconds: float) -> int:
    """Requests answered by so many clients that each wait for their answer."""
    request, until = request_bytes(endpoint, "/v1/completions", LONG), time.monotonic() + seconds

    async def client() -> int:
        done = 0
        while time.monotonic() < until:
            answer = await post(endpoint, request)
            assert answer.status == 200, answer
            done += 1
        return done

    return sum(await asyncio.gather(*(client() for _ in range(clients))))


def test_ten_times_what_it_can_do_for_a_minute(endpoint, packages):
    """What is taken is answered within its deadline, the rest is told 429 at once, and memory stays as it was."""
    deadline = 10.0
    served = start(endpoint, packages["good"], deadline_seconds=deadline, cache_entries=0)
    capacity = asyncio.run(closed_loop(served, 16, 5)) / 5
    asyncio.run(closed_loop(served, 16, 5))
    before = process(served).memory_info().rss
    request = request_bytes(served, "/v1/completions", LONG)
    answers: list[tuple[Answer, float]] = []

    async def one() -> None:
        started = time.monotonic()
        answer = await asyncio.wait_for(post(served, request), 30)
        answers.append((answer, time.monotonic() - started))

    async def flood(seconds: float) -> None:
        begun, sent, going = time.monotonic(), 0, set()
        while (now := time.monotonic()) < begun + seconds:
            while sent < (now - begun) * 10 * capacity:
                going.add(task := asyncio.create_task(one()))
                task.add_done_callback(going.discard)
                sent += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*going)

    asyncio.run(flood(60))
    taken = [seconds for answer, seconds in answers if answer.status == 200]
    refused = [answer for answer, _ in answers if answer.status == 429]
    assert len(taken) + len(refused) == len(answers) and len(refused) > len(taken)
    assert max(taken) < deadline + 1, "a request that is taken is answered in time"
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json["error"]["code"] == "queue_full" for answer in refused)
    assert process(served).memory_info().rss < before + 64 * 2**20
    assert gauge(served, "vllm:num_requests_waiting{") == 0
    assert served.ask(tiny_package.ROWS[0][0]) == tiny_package.ROWS[0][1]
    assert len(taken) > capacity * 20, "a third of the minute's work is done for those that are taken"


def test_a_thousand_clients_that_leave(endpoint, packages):
    """Their slots are free within a second, and nothing of them stays."""
    served = start(endpoint, packages["good"], queue_limit=1000)
    request = request_bytes(served, "/v1/completions", LONG | {"stream": True})

    async def leave(count: int) -> None:
        for _ in range(count // 20):
            await asyncio.gather(*(leave_after_first_bytes(served, request) for _ in range(20)))

    asyncio.run(leave(200))  # what is allocated once is allocated
    server = process(served)
    memory, files = server.memory_info().rss, server.num_fds()
    asyncio.run(leave(1000))
    time.sleep(1)
    assert gauge(served, "vllm:num_requests_running{") == 0
    assert gauge(served, "vllm:num_requests_waiting{") == 0
    assert gauge(served, "vllm:kv_cache_usage_perc{") == 0
    assert server.num_fds() <= files + 5
    assert server.memory_info().rss < memory + 32 * 2**20


def test_a_hundred_swaps_under_load(endpoint, packages):
    """No request fails, and none is answered by another package than the one it names."""
    expected = {"good-digest": "web", "worse-digest": "arrays"}
    served = start(endpoint, packages["good"])
    text = tiny_package.ROWS[-1][0]
    bodies = [
        {"model": "llm-assets-route", "messages": [{"role": "user", "content": text}], "temperature": heat, "seed": 1}
        for heat in (0, 0.001)
    ]
    requests = [request_bytes(served, "/v1/chat/completions", body) for body in bodies]
    wrong: list[Answer] = []
    seen: dict[str, int] = {}

    async def client(request: bytes, stop: asyncio.Event) -> None:
        while not stop.is_set():
            answer = await post(served, request)
            digest = answer.json.get("system_fingerprint", "") if answer.status == 200 else ""
            seen[digest] = seen.get(digest, 0) + 1
            if not digest or answer.json["choices"][0]["message"]["content"] != expected[digest]:
                wrong.append(answer)

    async def swap() -> None:
        stop = asyncio.Event()
        clients = [asyncio.create_task(client(requests[at % 2], stop)) for at in range(8)]
        for at in range(100):
            digest = ("worse-digest", "good-digest")[at % 2]
            await asyncio.to_thread(served.deploy, packages[digest.removesuffix("-digest")], digest)
            await asyncio.to_thread(served.wait_serving, digest)
        stop.set()
        await asyncio.gather(*clients)

    asyncio.run(swap())
    assert not wrong, wrong[:3]
    assert set(seen) == set(expected) and min(seen.values()) > 100, seen
