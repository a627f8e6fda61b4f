"""The server under more than it can do: overload, clients that leave, swaps without end. Minutes, so marked slow."""

from __future__ import annotations

import asyncio
import base64
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
import tiny_package
from load_client import Answer, leave_after_first_bytes, leave_after_seconds, post, request_bytes
from test_traffic import record
from waiting import until

from llm_assets.inference.encoder_model import EncoderModel
from llm_assets.serving.append_log import append
from llm_assets.serving.config import ServingConfig
from resources.endpoint import Endpoint

pytestmark = pytest.mark.slow
LONG = {"model": "llm-assets", "prompt": "count", "max_tokens": 200, "ignore_eos": True, "temperature": 0.8}
TEXTS = {"model": "llm-assets", "input": ["join rows and columns of two tables on a key " * 6] * 32}
TEXTS |= {"encoding_format": "base64"}  # the client is to be lighter than the server
MANY = TEXTS | {"input": TEXTS["input"] * 4}
ABORTED = 'vllm:request_success_total{engine="0",finished_reason="abort"'


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


async def closed_loop(endpoint: Endpoint, request: bytes, clients: int, seconds: float) -> int:
    """Requests answered by so many clients that each wait for their answer."""
    end = time.monotonic() + seconds

    async def client() -> int:
        done = 0
        while time.monotonic() < end:
            answer = await post(endpoint, request)
            assert answer.status == 200, answer
            done += 1
        return done

    return sum(await asyncio.gather(*(client() for _ in range(clients))))


async def flood(endpoint: Endpoint, request: bytes, rate: float, seconds: float) -> list[tuple[Answer, float]]:
    """So many requests a second, whatever becomes of them: the answers, and how long each took."""
    begun, sent = time.monotonic(), 0
    going: set[asyncio.Task] = set()
    answers: list[tuple[Answer, float]] = []

    async def one() -> None:
        started = time.monotonic()
        answer = await asyncio.wait_for(post(endpoint, request), 30)
        answers.append((answer, time.monotonic() - started))

    while (now := time.monotonic()) < begun + seconds:
        while sent < (now - begun) * rate:
            going.add(task := asyncio.create_task(one()))
            task.add_done_callback(going.discard)
            sent += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*going)
    assert len(answers) == sent
    return answers


@pytest.mark.parametrize(
    ("kind", "path", "body", "clients"),  # so many that it is busy, and has no need to refuse any
    [
        ("packages", "/v1/completions", LONG, 16),
        ("encoders", "/v1/embeddings", TEXTS, 16),
        ("encoders", "/v1/embeddings", MANY, 4),
    ],
)
def test_ten_times_what_it_can_do_for_a_minute(endpoint, request, kind, path, body, clients):
    """What is taken is answered within its deadline, the rest is told 429 at once, and memory stays as it was."""
    deadline = 10.0
    package = request.getfixturevalue(kind)["good"]
    traffic = endpoint.home / "traffic"
    traffic.mkdir(parents=True)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    append(traffic / f"{yesterday}.jsonl", record("old", at=f"{yesterday}T00:00:00.000+00:00"))
    served = start(endpoint, package, deadline_seconds=deadline, cache_entries=0, traffic={"file_mb": 1})
    asked = request_bytes(served, path, body)
    capacity = asyncio.run(closed_loop(served, asked, clients, 5)) / 5
    asyncio.run(flood(served, asked, 10 * capacity, 5))  # what is allocated once is allocated
    until(lambda: list(traffic.glob("*.parquet")), "yesterday's log is Parquet, the libraries for it are loaded")
    before = process(served).memory_info().rss
    answers = asyncio.run(flood(served, asked, 10 * capacity, 60))
    taken = [seconds for answer, seconds in answers if answer.status == 200]
    refused = [answer for answer, _ in answers if answer.status == 429]
    grown = process(served).memory_info().rss - before
    print(
        f"{capacity:.1f} a second, {len(taken)} taken in at most {max(taken):.1f} s, {len(refused)} refused, {grown=}"
    )
    assert len(taken) + len(refused) == len(answers) and len(refused) > len(taken)
    assert max(taken) < deadline + 1, "a request that is taken is answered in time"
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(answer.json["error"]["code"] == "queue_full" for answer in refused)
    assert grown < 32 * 2**20
    assert gauge(served, "vllm:num_requests_waiting{") == 0
    assert served.ask(tiny_package.ROWS[0][0]) == tiny_package.ROWS[0][1]
    assert len(taken) > capacity * 20, "a third of the minute's work is done for those that are taken"


def leave_a_thousand_times(served: Endpoint, leave: Callable[[], Awaitable[None]]) -> None:
    """Their slots are free within a second, and nothing of them stays."""

    async def all_leave(count: int) -> None:
        for _ in range(count // 20):
            await asyncio.gather(*(leave() for _ in range(20)))

    asyncio.run(all_leave(200))  # what is allocated once is allocated
    server, aborted = process(served), gauge(served, ABORTED)
    memory, files = server.memory_info().rss, server.num_fds()
    asyncio.run(all_leave(1000))
    time.sleep(1)
    assert gauge(served, "vllm:num_requests_running{") == 0
    assert gauge(served, "vllm:num_requests_waiting{") == 0
    assert gauge(served, "vllm:kv_cache_usage_perc{") == 0
    opened, grown = server.num_fds() - files, server.memory_info().rss - memory
    print(f"{gauge(served, ABORTED) - aborted:.0f} ended early, {opened=}, {grown=}")
    assert opened <= 5 and grown < 32 * 2**20
    assert gauge(served, ABORTED) > aborted + 100


def test_a_thousand_clients_that_leave(endpoint, packages):
    served = start(endpoint, packages["good"], queue_limit=1000)
    asked = request_bytes(served, "/v1/completions", LONG | {"stream": True})
    leave_a_thousand_times(served, lambda: leave_after_first_bytes(served, asked))


def test_a_thousand_clients_that_leave_their_texts(endpoint, encoders):
    """At any moment: before the request is read, while it waits, while it is computed."""
    served, chance = start(endpoint, encoders["good"]), random.Random(0)
    asked = request_bytes(served, "/v1/embeddings", TEXTS)
    leave_a_thousand_times(served, lambda: leave_after_seconds(served, asked, chance.uniform(0, 0.2)))


def swap_a_hundred_times(
    served: Endpoint, packages: dict[str, Path], requests: list[bytes], right: Callable[[str, dict], bool]
) -> None:
    """No request fails, and none is answered by another package than the one it names (`right` tells by its name)."""
    wrong: list[Answer] = []
    seen: Counter[str] = Counter()

    async def client(request: bytes, stop: asyncio.Event) -> None:
        while not stop.is_set():
            answer = await post(served, request)
            name = answer.json.get("system_fingerprint", "").removesuffix("-digest") if answer.status == 200 else ""
            seen[name] += 1
            if not name or not right(name, answer.json):
                wrong.append(answer)

    async def swap() -> None:
        stop = asyncio.Event()
        clients = [asyncio.create_task(client(requests[at % 2], stop)) for at in range(8)]
        for at in range(100):
            name = ("worse", "good")[at % 2]
            await asyncio.to_thread(served.deploy, packages[name], f"{name}-digest")
            await asyncio.to_thread(served.wait_serving, f"{name}-digest")
        stop.set()
        await asyncio.gather(*clients)

    asyncio.run(swap())
    print(f"{len(wrong)} of {seen} are wrong")
    assert not wrong, wrong[:3]
    assert seen.keys() == packages.keys() - {"broken"} and min(seen.values()) > 100, seen


def test_a_hundred_swaps_under_load(endpoint, packages):
    served, text = start(endpoint, packages["good"]), tiny_package.ROWS[-1][0]
    body = {"model": "llm-assets-route", "messages": [{"role": "user", "content": text}], "seed": 1}
    requests = [request_bytes(served, "/v1/chat/completions", body | {"temperature": heat}) for heat in (0, 0.001)]
    expected = {"good": "web", "worse": "arrays"}
    swap_a_hundred_times(
        served, packages, requests, lambda name, said: said["choices"][0]["message"]["content"] == expected[name]
    )


def test_a_hundred_swaps_of_encoders_under_load(endpoint, encoders):
    served, text = start(endpoint, encoders["good"]), tiny_package.ROWS[-1][0]
    body = {"model": "llm-assets", "input": text}
    models = {name: EncoderModel(folder, 1) for name, folder in encoders.items()}
    expected = {name: model.encode([model.tokenizer.encode(text).ids]) for name, model in models.items()}
    requests = [
        request_bytes(served, "/v1/classify", body),
        request_bytes(served, "/v1/embeddings", body | {"encoding_format": "base64"}),
    ]

    def right(name: str, said: dict) -> bool:
        [row] = said["data"]
        if "probs" in row:
            return np.allclose(row["probs"], expected[name].probabilities[0], atol=1e-5)
        found = np.frombuffer(base64.b64decode(row["embedding"]), "<f4")
        return np.allclose(found, expected[name].embeddings[0], atol=1e-5)

    assert not np.allclose(expected["good"].embeddings, expected["worse"].embeddings, atol=1e-2)
    swap_a_hundred_times(served, encoders, requests, right)
