"""The server against its own /openapi.json: whatever is sent, by it or against it, the answer has the told shape."""

from __future__ import annotations

import random
from collections import Counter

import httpx
import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string", "minLength": 1},
                "type": {"type": "string", "minLength": 1},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def headers(live):
    return {"authorization": f"Bearer {live.api_key()}"}


@pytest.fixture(scope="module")
def document(live, headers):
    found = httpx.get(f"{live.url}/openapi.json", headers=headers).json()
    del found["security"]  # keys have tests of their own: here every request has one
    return found


def told(document: dict, operation, status: str) -> dict | None:
    """What the document says of a reply in JSON."""
    found = document["paths"][operation.path][operation.method]["responses"][status].get("content", {})
    schema = found.get("application/json", {}).get("schema")
    return schema and schema | {"components": document["components"]}


def check(case, response, document: dict, operation) -> None:
    """No 5xx; OpenAI's error shape; the document's shape of a success."""
    sent = f"{operation.label} {case.body!r:.1500} -> {response.status_code} {response.text[:500]}"
    status, kind = response.status_code, response.headers.get("content-type", [""])[0]
    assert status < 500 or operation.path == "/health", sent
    assert response.headers.get("x-request-id"), sent
    if status >= 400:
        jsonschema.validate(response.json(), ERROR)
    elif kind.startswith("text/event-stream"):
        events = [line for line in response.text.split("\n\n") if line]
        assert all(event.startswith("data: {") for event in events[:-1]), sent
        assert events[-1] == "data: [DONE]" or events[-1].startswith('data: {"error":'), sent
    elif schema := told(document, operation, str(status)):
        jsonschema.validate(response.json(), schema)


NAMES = ("llm-assets", "llm-assets-route", "llm-assets-summarise")


def fuzz(document: dict, live, headers: dict, each: int, seed: int | None, names=NAMES) -> Counter:
    """`each` valid and as many invalid requests to every operation; how many had which status. names: the models'."""
    schema = schemathesis.openapi.from_dict(document)
    statuses: Counter = Counter()
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in GenerationMode:
            if mode is GenerationMode.POSITIVE or operation.body or operation.query or operation.path_parameters:
                send(operation, mode, document, live, headers, each, seed, names, statuses)
    return statuses


def send(operation, mode, document, live, headers, each, seed, names, statuses) -> None:
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
        response = case.call(base_url=live.url, headers=headers, timeout=60)
        statuses[response.status_code] += 1
        check(case, response, document, operation)

    try:
        one()
    except Unsatisfiable:  # any text is a valid reviewer, say: there is no invalid request
        assert mode is GenerationMode.NEGATIVE and not operation.body


def test_requests_by_the_document_and_against_it(document, live, headers):
    statuses = fuzz(document, live, headers, each=15, seed=0)
    assert statuses.total() >= 300 and statuses[200] > 20 and statuses[400] > 100, statuses
    assert live.status()["healthy"]


@pytest.mark.slow
def test_ten_thousand_requests(document, live, headers):
    statuses: Counter = Counter()
    while statuses.total() < 10_000:
        statuses += fuzz(document, live, headers, each=250, seed=None)
    assert statuses[200] > 500 and statuses[400] > 2000, statuses
    assert live.status()["healthy"]
