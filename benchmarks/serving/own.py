"""Our server alone: what a shared beginning saves, what a known reply costs, and what the server and drawing tokens add
to its model."""

from __future__ import annotations

import http.client
import json
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .bars import Bar, at_least, at_most
from .client import complete, drive_http
from .compare import REQUESTS, best
from .contenders import Contender, Peers, in_process, serving
from .models import Prepared
from .workload import FIRST_TOKEN, WARM, Cell, measure, quantile

PREFIX, REST, PAIRS = 512, 16, 10
REPEATS = 300
DRAWN = {"temperature": {"temperature": 1}, "top_p": {"temperature": 1, "top_p": 0.9}}  # of bodies
CROWD = 16  # clients whose tokens are drawn
GROUP = "int8"


def prefix_reuse(model: Prepared) -> tuple[dict[str, Any], Bar]:
    """Pairs of requests that share their first 512 tokens: median TTFT of the first over that of the second."""
    drawn = random.Random(0)

    def ids(count: int) -> list[int]:
        return [drawn.randrange(FIRST_TOKEN, model.vocab) for _ in range(count)]

    first, second = [], []
    with serving(model.path(f"package-{GROUP}")) as (url, headers):
        body = {"model": "llm-assets", "max_tokens": 4}
        for _ in range(PAIRS):
            shared = ids(PREFIX)
            for times in (first, second):
                sample = complete(url, shared + ids(REST), body, headers)
                times.append(1000 * (sample.arrivals[0] - sample.started))
    fresh, reused = statistics.median(first[1:]), statistics.median(second[1:])
    found = {"fresh_ttft_ms": fresh, "reused_ttft_ms": reused}
    return found, at_least(f"{model.name}: a shared 512-token prefix divides TTFT by", fresh / reused, 5)


def exact_replies(model: Prepared) -> tuple[dict[str, Any], Bar]:
    """The same request again and again: 95th percentile of the whole reply's time, over one kept connection."""
    prompt = Cell(1, 1).prompts(model.vocab)[0]
    asked = json.dumps({"model": "llm-assets", "prompt": prompt, "max_tokens": 32, "temperature": 0})
    with serving(model.path(f"package-{GROUP}")) as (url, headers):
        connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        times, texts = [], set()
        for _ in range(REPEATS + 1):
            started = time.perf_counter()
            connection.request("POST", "/v1/completions", asked, {"content-type": "application/json", **headers})
            reply = json.loads(connection.getresponse().read())
            times.append(1000 * (time.perf_counter() - started))
            texts.add(reply["choices"][0]["text"])
        connection.close()
    if len(texts) != 1:
        raise RuntimeError(f"one request had {len(texts)} different replies")
    found = {"first_ms": times[0], "p50_ms": quantile(times[1:], 0.5), "p95_ms": quantile(times[1:], 0.95)}
    return found, at_most(f"{model.name}: a known reply's p95, ms", found["p95_ms"], 5)


def server_cost(model: Prepared, peers: Peers, rounds: int) -> tuple[dict[str, Any], list[Bar]]:
    """Throughput over HTTP against the model's own loop on the same requests, interleaved."""
    path = model.path(f"package-{GROUP}")
    ours = Contender("llm-assets", GROUP, "ours", f"package-{GROUP}")
    bare: dict[int, list[dict[str, float]]] = {concurrency: [] for concurrency in REQUESTS}
    http_: dict[int, list[dict[str, float]]] = {concurrency: [] for concurrency in REQUESTS}
    for _ in range(rounds):
        for found, started in (
            (bare, in_process("bare", model, path, Path(sys.executable), peers)),
            (http_, ours.running(model, peers)),
        ):
            with started as run:
                run(WARM)
                for concurrency, requests in REQUESTS.items():
                    found[concurrency].append(measure(run(Cell(concurrency, requests))))
    result, bars = {}, []
    for concurrency in REQUESTS:
        loop, served = (best(found[concurrency])["tokens_per_second"] for found in (bare, http_))
        result[str(concurrency)] = {"bare_tokens_per_second": loop, "http_tokens_per_second": served}
        bars.append(
            at_most(
                f"{model.name}, {concurrency} concurrent: server's share of the time, %", 100 * (1 - served / loop), 10
            )
        )
    return result, bars


def drawing_cost(model: Prepared, rounds: int) -> tuple[dict[str, Any], Bar]:
    """Throughput with tokens drawn by temperature, and by top-p too, against greedy ones, interleaved."""
    kinds = [("warm", {}), *[*({"greedy": {}} | DRAWN).items()] * rounds]
    found: dict[str, list[dict[str, float]]] = {}
    with serving(model.path(f"package-{GROUP}")) as (url, headers):
        for number, (name, more) in enumerate(kinds):
            prompts = Cell(CROWD, REQUESTS[CROWD], seed=number).prompts(model.vocab)  # that no cache knows
            samples = drive_http(url, prompts, CROWD, {"model": "llm-assets"} | more, headers)
            found.setdefault(name, []).append(measure(samples))
    speeds = {name: best(found[name])["tokens_per_second"] for name in ("greedy", *DRAWN)}
    share = 100 * (1 - speeds["temperature"] / speeds["greedy"])
    return speeds, at_most(f"{model.name}, {CROWD} concurrent: share of the time that drawing takes, %", share, 25)


def measure_all(model: Prepared, peers: Peers, rounds: int) -> tuple[dict[str, Any], list[Bar]]:
    cost, bars = server_cost(model, peers, rounds)
    replies, reply_bar = exact_replies(model)
    drawing, drawing_bar = drawing_cost(model, rounds)
    found = {"server_cost": cost, "exact_replies": replies, "drawing": drawing}
    if model.context >= PREFIX + REST + 64:  # the demo's is shorter than the prefix, and its steps than any drawing
        found["prefix_reuse"], prefix_bar = prefix_reuse(model)
        bars += [prefix_bar, drawing_bar]
    return found, [*bars, reply_bar]
