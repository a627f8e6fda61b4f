"""What comes over a connection before it is a request: bounded in size and time, and told in OpenAI's shape."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from http.client import HTTPResponse

import httpx
import psutil
import pytest
import uvicorn
from tiny_package import free_port
from waiting import until

from llm_assets.serving import connections
from llm_assets.serving.connections import HEAD_BYTES, Connection

GET = b"GET /health HTTP/1.1\r\nhost: x\r\n"
CHUNKED = b"POST /health HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
NO_HTTP = [b"hello\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET \xff HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00"]


def answer(connection: socket.socket) -> tuple[int, dict]:
    """Status and error of what is answered, and closed; (0, {}) where it is only closed."""
    connection.settimeout(60)
    response = HTTPResponse(connection)
    try:
        response.begin()
        body = json.loads(response.read())
        assert response.headers["x-request-id"].startswith("req-")
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert connection.recv(1) == b""
        return response.status, body["error"]
    except ConnectionError:
        return 0, {}


def send(port: int, *parts: bytes) -> tuple[int, dict]:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except ConnectionError:
            pass  # closed meanwhile
        return answer(connection)


@pytest.mark.parametrize(
    "parts",
    [
        [GET, b"x-long: " + b"a" * (HEAD_BYTES + 1) + b"\r\n\r\n"],
        [GET, b"x-long: ", *[b"a" * 2**20] * 64],
        [GET, *[b"x-many: " + b"a" * 1000 + b"\r\n"] * 70_000],
        [b"GET /", *[b"a" * 2**20] * 64],
        [CHUNKED, b"0\r\nx-trailer: ", *[b"a" * 2**20] * 64],
        [CHUNKED, b"1;x=", *[b"a" * 2**20] * 64],
    ],
    ids=["in one piece", "a header", "headers", "a path", "a trailer", "a chunk's extension"],
)
def test_heads_without_an_end_take_no_memory(live, parts):
    """No key is needed to send one."""
    server = psutil.Process(live.status()["pid"])
    before = server.memory_info().rss
    status, error = send(live.port, *parts)
    assert server.memory_info().rss - before < 16 * 2**20
    assert (status, error.get("code")) in ((431, "headers_too_large"), (0, None), (405, "method_not_allowed")), error
    assert httpx.get(f"{live.url}/health").status_code == 200


def test_heads_up_to_the_bound_are_read(live):
    long = {"x-long": "a" * (HEAD_BYTES - 1000)}
    assert httpx.get(f"{live.url}/health", headers=long).status_code == 200
    told = send(live.port, GET, b"x-long: " + b"a" * (HEAD_BYTES + 1) + b"\r\n\r\n")
    assert told[0] == 431 and str(HEAD_BYTES) in told[1]["message"]


@pytest.mark.parametrize("sent", NO_HTTP)
def test_what_is_no_http_is_told_in_the_same_shape(live, sent):
    status, error = send(live.port, sent)
    assert (status, error["code"], error["type"]) == (400, "invalid_http", "invalid_request_error")


def test_an_upgrade_is_a_request_as_any_other(live):
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13", "sec-websocket-key": "x"}
    assert httpx.get(f"{live.url}/v1/models", headers=upgrade).status_code == 401
    assert httpx.get(f"{live.url}/health", headers=upgrade).status_code == 200


@pytest.fixture
def hasty(monkeypatch) -> Iterator[int]:
    """The port of a server whose clients have a fifth of a second for a head; it answers after a whole one."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    late = threading.Event()

    async def app(scope, receive, send):
        if scope["type"] == "http":
            await asyncio.to_thread(late.wait, 1.0)
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, http=Connection, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, "the server has started")
    yield port
    server.should_exit = True
    thread.join()


def test_a_head_that_does_not_come_is_waited_for_no_longer(hasty):
    assert send(hasty, GET)[1]["code"] == "too_slow"
    with socket.create_connection(("127.0.0.1", hasty), timeout=60) as silent:
        assert silent.recv(1) == b"", "closed without a word: nothing was asked"


def test_a_request_that_has_come_has_all_the_time(hasty):
    with httpx.Client(base_url=f"http://127.0.0.1:{hasty}", timeout=60) as http:
        assert [http.get("/").text for _ in range(2)] == ["ok", "ok"]
