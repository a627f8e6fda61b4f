"""Requests that are refused before they are read: told as any refusal, counted, and in the log."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.client import HTTPMessage, HTTPResponse

import httpx
import pytest
from test_soak import gauge, start
from test_traffic import record
from waiting import until

from llm_assets.monitoring.config import MonitoringConfig
from llm_assets.monitoring.measure import last_requests, measure
from llm_assets.serving.config import TrafficConfig
from llm_assets.serving.traffic import TrafficLog, keep_log, read_traffic

LONG = {"model": "llm-assets", "prompt": "count", "max_tokens": 240, "ignore_eos": True, "temperature": 0.8}


@pytest.fixture
def busy(endpoint, packages):
    """A server of four places in its queue, and one slot."""
    return start(endpoint, packages["good"], queue_limit=4, max_batch=1)


@contextmanager
def crowd(served, path="/v1/completions", body=LONG, clients=8):
    """Clients that ask for more than it can do, until the end; their answers."""
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=served.url, headers=key(served), timeout=60) as http:
            while not stop.is_set():
                answers.append(http.post(path, json=body))

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def key(served) -> dict[str, str]:
    return {"authorization": f"Bearer {served.api_key()}"}


def head_alone(served, authorization: str, path: str = "/v1/chat/completions") -> tuple[int, HTTPMessage, bytes] | None:
    """What is answered to the head of a request whose body does not come; None where it is waited for."""
    head = (
        f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n"
        f"x-request-id: mine\r\nauthorization: {authorization}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port), timeout=0.1) as connection:
        connection.sendall(head.encode())
        answer = HTTPResponse(connection)
        try:
            answer.begin()
            return answer.status, answer.headers, answer.read()
        except TimeoutError:
            return None


def test_a_full_server_refuses_what_it_has_not_read(busy):
    with crowd(busy):
        told = next(filter(None, (head_alone(busy, f"Bearer {busy.api_key()}") for _ in range(200))))
        stranger = next(filter(None, (head_alone(busy, "Bearer wrong") for _ in range(200))))
    status, headers, body = told
    assert status == 429 and headers["x-request-id"] == "mine" and int(headers["retry-after"]) >= 1
    assert headers["content-type"] == "application/json"
    assert headers["connection"] is None, "the client may go on with this connection"
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
    assert stranger[0] == 401, "whose key is unknown is told that"


def test_what_the_cache_knows_is_answered_all_the_same(busy):
    body = {"model": "llm-assets", "prompt": "join two", "temperature": 0, "max_tokens": 3}
    with httpx.Client(base_url=busy.url, headers=key(busy), timeout=60) as http:
        first = http.post("/v1/completions", json=body)
        assert first.status_code == 200
        with crowd(busy) as others:
            known = [http.post("/v1/completions", json=body) for _ in range(100)]
        large = http.post("/v1/completions", content=b" " * 300_000)
    assert {answer.status_code for answer in known} == {200}
    assert {answer.json()["choices"][0]["text"] for answer in known} == {first.json()["choices"][0]["text"]}
    assert 429 in {answer.status_code for answer in others}, "others were refused meanwhile"
    assert large.status_code == 413


def test_every_refusal_is_counted(busy, documents):
    with crowd(busy) as answers:
        until(lambda: [answer.status_code for answer in answers].count(429) >= 300, "300 are refused", pause=0.02)
    statuses = [answer.status_code for answer in answers]
    refused = statuses.count(429)
    assert set(statuses) == {200, 429}
    assert gauge(busy, "vllm:admission_rejections_total") == refused
    name = 'http_requests_total{handler="/v1/completions",method="POST",status="429"}'
    assert gauge(busy, name) == refused
    assert gauge(busy, 'vllm:request_success_total{engine="0",finished_reason="error"') == refused
    busy.stop(seconds=5)
    traffic = read_traffic(busy.home, digest="good-digest")
    assert traffic.loc[traffic["status"] == 429, "count"].sum() == refused
    assert traffic["count"].sum() == len(statuses) and traffic["count"].max() > 1, "many refusals are one record"
    log = [json.loads(line) for line in busy.log.read_text(encoding="utf-8").splitlines()]
    lines = [line.get("count", 1) for line in log if line.get("status") == 429]
    assert sum(lines) == refused and len(lines) < refused / 2
    measured = measure(busy.home, busy, busy.current(), documents, MonitoringConfig(window_requests=10**6), seed=1)
    assert measured.metrics["requests"] == len(statuses) and measured.metrics["errors"] == refused
    assert measured.metrics["error_rate"] == pytest.approx(refused / len(statuses))


def test_records_of_many_refusals_keep_their_counts(tmp_path):
    log = TrafficLog(tmp_path, TrafficConfig(file_mb=1))
    for at, count in (("1", 5), ("2", 1), ("3", 7), ("4", 1)):
        row = record(at, at=f"2020-01-0{at}T00:00:00.000+00:00", status=200 if count == 1 else 429)
        log.request(row | ({} if count == 1 else {"count": count}))
    log.close()
    written = next((tmp_path / "traffic").glob("*.jsonl"))
    frame = read_traffic(tmp_path)
    assert list(frame["count"]) == [5, 1, 7, 1]
    written.rename(written.with_name("2020-01-01.jsonl"))
    keep_log(tmp_path / "traffic", TrafficConfig(days=36500))
    assert list((tmp_path / "traffic").glob("*.parquet")) and read_traffic(tmp_path).equals(frame)
    for limit, counts in ((100, [5, 1, 7, 1]), (11, [2, 1, 7, 1]), (9, [1, 7, 1]), (3, [2, 1]), (1, [1])):
        window = last_requests(frame, limit)
        assert list(window["count"]) == counts and window["count"].sum() == min(limit, 14)
        assert list(window["id"]) == ["1", "2", "3", "4"][-len(counts) :]
    assert last_requests(read_traffic(tmp_path / "none"), 5).empty
