"""Who may come in, with what, and what is told of it."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
from contextlib import contextmanager, nullcontext
from http.client import HTTPResponse

import httpx
import psutil
import pytest
import tiny_package
from test_admission import crowd
from test_admission import key as authorization
from test_soak import start

from llm_assets.serving.app import build_app
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.guard import OPEN_ROUTES

TEXT, LABEL = tiny_package.ROWS[0]
BODY = {"model": "llm-assets-route", "messages": [{"role": "user", "content": TEXT}]}


@pytest.fixture(scope="module")
def document(live):
    return httpx.get(f"{live.url}/openapi.json", headers={"authorization": f"Bearer {live.api_key()}"}).json()


def every_route(tmp_path) -> set[tuple[str, str]]:
    """All that the application answers to, whether or not its document tells."""
    app = build_app(tmp_path, ServingConfig(), 1)
    found = set()
    pending = list(app.router.routes)
    while pending:
        route = pending.pop()
        inner = getattr(route, "original_router", None) or getattr(route, "routes", None)
        if inner is not None:
            pending += getattr(inner, "routes", inner)
        else:
            found |= {(method, route.path) for method in getattr(route, "methods", None) or ["GET"]}
    return found


def test_every_route_but_the_allow_list_needs_a_key(live, tmp_path, document):
    routes = every_route(tmp_path)
    told = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert told <= routes and ("POST", "/v1/chat/completions") in routes
    wrong = [{}, {"authorization": "Bearer wrong"}, {"authorization": live.api_key()}, {"authorization": "Bearer"}]
    wrong += [{"authorization": f"Basic {live.api_key()}"}, {"x-api-key": live.api_key()}]
    paths = {path for _, path in routes} | {"/docs", "/redoc", "/v1", "/v1/", "/v1/models/", "/metrics/", "/health/x"}
    with httpx.Client(base_url=live.url) as stranger:
        for path, method in itertools.product(paths, ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD")):
            for headers in wrong:
                reply = stranger.request(method, path.replace("{name}", "llm-assets"), headers=headers)
                if path in OPEN_ROUTES:
                    assert reply.status_code == (200 if method == "GET" else 405), (method, path)
                    continue
                assert reply.status_code == 401, (method, path, headers)
                assert reply.headers["x-request-id"] and reply.headers["www-authenticate"] == "Bearer"
                if method != "HEAD":
                    assert reply.json()["error"]["code"] == "invalid_api_key"
    assert not OPEN_ROUTES - {path for _, path in routes}, "the list names routes that are there"


def test_keys_can_be_added_and_withdrawn(endpoint, packages):
    endpoint.deploy(packages["good"], "good-digest")
    endpoint.start()
    endpoint.wait_serving("good-digest")
    first = endpoint.api_key()

    def status(key: str) -> int:
        return httpx.get(f"{endpoint.url}/v1/models", headers={"authorization": f"Bearer {key}"}).status_code

    path = endpoint.folder / "api_key"
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text(f"{first}\nsk-second\n")
    assert [status(key) for key in (first, "sk-second", "sk-third", f"{first} sk-second")] == [200, 200, 401, 401]
    path.write_text("sk-third-key\n")
    assert [status(key) for key in (first, "sk-second", "sk-third-key")] == [401, 401, 200]


def test_keys_of_the_environment(endpoint, packages, monkeypatch):
    monkeypatch.setenv("LLM_ASSETS_API_KEY", "sk-one, sk-two")
    endpoint.deploy(packages["good"], "good-digest")
    endpoint.start()
    endpoint.wait_serving("good-digest")
    for key, status in (("sk-one", 200), ("sk-two", 200), ("sk-one, sk-two", 401), ("sk", 401)):
        reply = httpx.get(f"{endpoint.url}/v1/models", headers={"authorization": f"Bearer {key}"})
        assert reply.status_code == status, key
    assert endpoint.ask(TEXT) == LABEL


@pytest.fixture
def http(live):
    with httpx.Client(base_url=live.url, headers={"authorization": f"Bearer {live.api_key()}"}) as made:
        yield made


def test_request_ids_are_the_clients_where_they_are_sane(http):
    for given in ("abc-123", "a" * 128, "trace:1/2_3.4"):
        assert http.get("/v1/models", headers={"x-request-id": given}).headers["x-request-id"] == given
    for given in ("", "a" * 129, "a b", 'x"y', "é".encode()):
        assert http.get("/v1/models", headers={"x-request-id": given}).headers["x-request-id"].startswith("req-")
    assert http.get("/health").headers["x-request-id"] and http.get("/v1/none").headers["x-request-id"]


def error_of(reply: httpx.Response, status: int) -> dict:
    assert reply.status_code == status, reply.text
    assert set(reply.json()) == {"error"} and set(reply.json()["error"]) == {"message", "type", "param", "code"}
    return reply.json()["error"]


def test_bodies_that_are_no_requests(http):
    def post(content: bytes, kind: str = "application/json") -> httpx.Response:
        return http.post("/v1/chat/completions", content=content, headers={"content-type": kind})

    assert error_of(post(b"x" * 300_000), 413)["code"] == "body_too_large"
    chunks = http.post("/v1/chat/completions", content=(b"x" * 100_000 for _ in range(5)))
    assert error_of(chunks, 413)["code"] == "body_too_large"
    for content in (
        b"{",
        b"",
        b"[]",
        b"null",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"1" * 10_000,
    ):
        assert error_of(post(content), 400)["code"] == "invalid_json", content[:20]
    assert "application/json" in error_of(post(json.dumps(BODY).encode(), "text/plain"), 400)["message"]
    for kind in ("application/json; charset=utf-8", "application/vnd.some+json"):
        assert post(json.dumps(BODY).encode(), kind).status_code == 200
    lone = b'{"model": "llm-assets", "messages": [{"role": "user", "content": "\\ud800"}]}'
    assert error_of(post(lone), 400)["code"] == "invalid_json"
    assert error_of(post(b'{"model": "llm-assets", "\\ud800": 1}'), 400)["code"]
    assert (
        error_of(post(b'{"model": "llm-assets", "messages": [], "temperature": NaN}'), 400)["code"] == "invalid_value"
    )
    name = "m" * 100_000
    message = error_of(http.post("/v1/chat/completions", json=BODY | {"model": name}), 404)["message"]
    assert len(message) < 1000
    assert error_of(http.post("/v1/chat/completions", json=BODY | {name: 1}), 400)["code"] == "unknown_parameter"


@pytest.mark.parametrize("busy", [False, True])
def test_a_body_that_does_not_come_is_waited_for_no_longer_than_a_request_may_take(endpoint, packages, busy):
    """Also where admission looks at it first: of a full server, whose cache knows a reply."""
    served = start(endpoint, packages["good"], deadline_seconds=1.0, queue_limit=1, max_batch=1)
    httpx.post(
        f"{served.url}/v1/chat/completions", json=BODY, headers=authorization(served)
    ).raise_for_status()  # it is kept
    with crowd(served) if busy else nullcontext(), stalled(served) as connection:
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408 and json.loads(answer.read())["error"]["code"] == "body_too_slow"
        assert answer.headers["connection"] == "close" and answer.headers["x-request-id"]
    with stalled(served):
        pid = served.status()["pid"]
        os.kill(pid, signal.SIGTERM)
        assert psutil.Process(pid).wait(timeout=120) == 0


@contextmanager
def stalled(served):
    """A connection over which the head of a request has come, and nothing of its body."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=60) as connection:
        head = f"POST /v1/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {served.api_key()}\r\n"
        connection.sendall(f"{head}content-type: application/json\r\ncontent-length: 100\r\n\r\n".encode())
        yield connection


def test_the_document_tells_requests_replies_and_errors(document):
    chat = document["paths"]["/v1/chat/completions"]["post"]
    schemas = document["components"]["schemas"]
    assert set(chat["responses"]) == {"200", "4XX", "5XX"}
    assert set(chat["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
    reference = chat["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    assert {"messages", "temperature", "top_k", "structured_outputs"} <= set(schemas[reference]["properties"])
    assert "error" in schemas["ErrorBody"]["properties"]
    assert document["components"]["securitySchemes"] and "security" in document


def test_no_route_fails_on_garbage(http, document):
    posts = [path for path, methods in document["paths"].items() if "post" in methods]
    assert len(posts) > 8
    deep, half = b'{"model":' + b"[" * 900 + b"]" * 900 + b"}", b'{"model": "\\udfff", "id": "\\ud800"}'
    for path, content in itertools.product(posts, (b"", b"\0", b"\xff", b"{}", b"[]", b"[1]", b'{"a":1}', deep, half)):
        reply = http.post(path, content=content, headers={"content-type": "application/json"})
        if reply.status_code != 200:
            assert reply.status_code < 500 and error_of(reply, reply.status_code)["message"], (path, content[:20])
    assert http.get("/health").json()["status"] == "ok"
