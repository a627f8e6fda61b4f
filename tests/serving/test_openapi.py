"""The server against its own /openapi.json: whatever is sent, by it or against it, the answer has the told shape."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from test_admission import crowd
from test_soak import start
from waiting import until

load_all_checks()
AS_TOLD = [
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
OF_HTTP = {"connection", "content-length", "content-type", "date", "transfer-encoding"}  # of any reply at all
TEXT = "join two tables on a key"
SAID = {"messages": [{"role": "user", "content": TEXT}], "max_tokens": 5, "logprobs": True, "top_logprobs": 2}
COMPLETED = {"prompt": TEXT, "max_tokens": 5, "logprobs": 2}
ASKED = {  # of each kind of model; the last reply is one that feedback can be about
    "decoder": [
        ("/tokenize", {"prompt": TEXT, "return_token_strs": True}),
        ("/detokenize", {"tokens": [5, 6]}),
        ("/v1/completions", COMPLETED | {"n": 2}),
        ("/v1/completions", COMPLETED | {"stream": True}),
        ("/v1/chat/completions", SAID | {"stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", SAID),
    ],
    "encoder": [
        ("/v1/embeddings", {"input": TEXT}),
        ("/v1/embeddings", {"input": [TEXT, TEXT], "encoding_format": "base64"}),
        ("/v1/classify", {"input": TEXT}),
    ],
}


@pytest.fixture(scope="module", params=["live", "live_encoder"])
def server(request):
    """A server that generates, and one that encodes."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def http(server):
    headers = {"authorization": f"Bearer {server.api_key()}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def document(http):
    """What the server tells, as a closed world: a field that it does not tell is wrong in a reply."""
    found = http.get("/openapi.json").json()
    del found["security"]  # keys have tests of their own: here every request has one
    for schema in found["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return found


def untold(document: dict, method: str, path: str, status: int, headers: Iterable[str]) -> set[str]:
    """The headers of a reply that the document does not tell of it."""
    replies = document["paths"][path][method.lower()]["responses"]
    told = replies.get(str(status)) or replies[f"{status // 100}XX"]
    return {name.lower() for name in headers} - OF_HTTP - told["headers"].keys()


def check(document, operation, case, response) -> None:
    """No 5xx, and the document's shape of a success or an error."""
    sent = f"{operation.label} {case.body!r:.1500} -> {response.status_code} {response.text[:500]}"
    assert response.status_code < 500, sent
    assert not untold(document, operation.method, operation.path, response.status_code, response.headers), sent
    case.validate_response(response, checks=AS_TOLD)
    if response.status_code >= 400:
        error = response.json()["error"]
        assert error["message"] and error["type"], sent
    elif response.headers["content-type"][0].startswith("text/event-stream"):
        events = [line for line in response.text.split("\n\n") if line]
        assert all(event.startswith("data: {") for event in events[:-1]), sent
        assert events[-1] == "data: [DONE]" or events[-1].startswith('data: {"error":'), sent


def fuzz(document: dict, server, http: httpx.Client, each: int, seed: int | None) -> Counter:
    """`each` valid and as many invalid requests to every operation; how many had which status."""
    schema = schemathesis.openapi.from_dict(document)
    names = [model["id"] for model in http.get("/v1/models").json()["data"]]
    statuses: Counter = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters:
                send(document, operation, mode, server, dict(http.headers), each, seed, names, statuses)
    return statuses


def send(document, operation, mode, server, headers, each, seed, names, statuses) -> None:
    choose = random.Random(seed)

    @settings(
        max_examples=each,
        deadline=None,
        derandomize=seed is not None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case):
        if isinstance(case.body, dict) and isinstance(case.body.get("model"), str) and choose.random() < 0.8:
            case.body["model"] = choose.choice(names)  # else all would fail for a name that is not there
        response = case.call(base_url=server.url, headers=headers, timeout=60)
        statuses[response.status_code] += 1
        check(document, operation, case, response)

    try:
        one()
    except Unsatisfiable:  # any text is a valid reviewer, say: there is no invalid request
        assert mode is GenerationMode.NEGATIVE and not operation.body


def test_requests_by_the_document_and_against_it(document, server, http):
    statuses = fuzz(document, server, http, each=15, seed=0)
    assert statuses.total() >= 300 and statuses[200] > 20 and statuses[400] > 100, statuses
    assert server.status()["healthy"]


@pytest.mark.slow
def test_ten_thousand_requests(document, server, http):
    statuses: Counter = Counter()
    while statuses.total() < 10_000:
        statuses += fuzz(document, server, http, each=250, seed=None)
    print(dict(statuses))
    assert statuses[200] > 500 and statuses[400] > 2000, statuses
    assert server.status()["healthy"]


def test_every_route_succeeds_as_told(document, http):
    """Each route is driven to a success, which guessed requests rarely reach where they need an id."""
    schema, seen = schemathesis.openapi.from_dict(document), set()

    def ask(method: str, path: str, body: object = None, lines: str | None = None, **where: str) -> httpx.Response:
        reply = http.request(method, path.format(**where), json=body, content=lines, params=where or None)
        assert reply.status_code == 200, f"{method} {path}: {reply.text}"
        schema[path][method].validate_response(reply)
        told = document["paths"][path][method.lower()]["responses"]["200"]["content"]
        kind = reply.headers["content-type"].partition(";")[0]
        assert any(told[kind].get("schema", told[kind].get("itemSchema"))), f"{path}: nothing is told of {kind}"
        assert not untold(document, method, path, 200, reply.headers)
        seen.add(path)
        return reply

    for path in ("/health", "/metrics", "/version", "/", "/live", "/label", "/v1/models"):
        ask("GET", path)
    kind = ask("GET", "/v1/models/{name}", name="llm-assets").json()["kind"]
    for path, body in ASKED[kind]:
        reply = ask("POST", path, {"model": "llm-assets"} | body)
    ask("POST", "/v1/feedback", {"id": reply.json()["id"], "correction": "tables"})
    if kind == "decoder":
        ask("POST", "/v1/label/sample", {"count": 1})
    ask("POST", "/v1/label/pairs", lines=json.dumps({"text": TEXT, "replies": ["tables", "arrays"]}))
    ask("GET", "/v1/label/agreement")
    turn = ask("GET", "/v1/label/next", reviewer="ada").json()
    vote = {"pair": turn["pair"]["id"], "reviewer": "ada", "choice": "left"}
    for path, body in (("votes", vote), ("undo", {"reviewer": "ada"}), ("votes", vote)):
        ask("POST", f"/v1/label/{path}", body)
    ask("GET", "/v1/label/agreement")
    assert ask("GET", "/v1/label/export").text
    others = {path for other, asked in ASKED.items() if other != kind for path, _ in asked}
    others |= {"/v1/label/sample"} if kind == "encoder" else set()
    assert seen == document["paths"].keys() - others


def test_a_server_without_a_model_answers_as_told(endpoint):
    endpoint.start()
    with httpx.Client(base_url=endpoint.url, headers={"authorization": f"Bearer {endpoint.api_key()}"}) as http:
        schema = schemathesis.openapi.from_dict(http.get("/openapi.json").json())
        for path, what in (("/health", "status"), ("/v1/models", "error")):
            reply = http.get(path)
            assert reply.status_code == 503 and what in reply.json()
            schema[path]["GET"].validate_response(reply)
            assert not untold(schema.raw_schema, "GET", path, 503, reply.headers)
            assert ("retry-after" in reply.headers) == (what == "error")


def test_headers_of_refusals_are_told(document, http, endpoint, packages):
    busy = start(endpoint, packages["good"], queue_limit=4, max_batch=1)
    path = "/v1/completions"
    body = {"model": "llm-assets", "prompt": "x"}
    with crowd(busy) as answers:
        until(lambda: 429 in [answer.status_code for answer in answers], "one is refused")
    refused = [
        httpx.post(f"{http.base_url}{path}", json=body),
        http.post(path, json=body, headers={"x-request-id": "mine"}),
        http.post(path, content=b" " * 300_000),
        http.post(path, json={}),
        next(answer for answer in answers if answer.status_code == 429),
    ]
    schema = schemathesis.openapi.from_dict(document)
    for reply in refused:
        schema[path]["POST"].validate_response(reply)
        assert not untold(document, "POST", path, reply.status_code, reply.headers)
    assert [reply.status_code for reply in refused] == [401, refused[1].status_code, 413, 400, 429]
    assert refused[0].headers["www-authenticate"] and int(refused[4].headers["retry-after"]) >= 1
    assert refused[1].headers["x-request-id"] == "mine"
