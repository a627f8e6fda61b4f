"""An encoder as champion and challenger: the same way as a decoder, by a real process."""

from __future__ import annotations

import shutil

import httpx
import pytest
import tiny_encoder
import tiny_package
from test_deployment import deploy

from llm_assets.artifacts import PACKAGE, read_json, write_json
from llm_assets.compression.export_encoder import export_encoder
from llm_assets.errors import UserError
from llm_assets.monitoring.config import MonitoringConfig
from llm_assets.monitoring.measure import measure
from llm_assets.serving.feedback import accept_feedback

CANARY = [{"task": "route", "text": text, "answer": label} for text, label in tiny_package.ROWS]
TEXT = "follow a redirect"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory, packages):
    """knows, guesses: encoders that know every label, and that take "web" for "arrays". good: a decoder."""
    root, right = tmp_path_factory.mktemp("encoders"), {label: label for label in tiny_package.LABELS}
    found = {}
    for name, answers in (("knows", right), ("guesses", right | {"web": "arrays"})):
        checkpoint = tiny_encoder.train(root / f"{name}-checkpoint", answers)
        extra = {"canary": CANARY, "metrics": {"accuracy": 1.0}}
        export_encoder(checkpoint, root / name, "fp32", "finetuned_model", extra)
        found[name] = root / name
    return found | {"good": packages["good"]}


def test_only_a_better_encoder_is_deployed(endpoint, encoders, documents, tmp_path):
    first = deploy(endpoint, encoders, documents, "guesses", tmp_path / "1")
    assert first.metrics["decision"] == "deploy" and first.metrics["accuracy"] == pytest.approx(8 / 12)
    assert endpoint.health()["digest"] == "guesses-digest" and endpoint.ask(TEXT) == "arrays"
    assert first.samples[0]["answered"] in tiny_package.LABELS

    better = deploy(endpoint, encoders, documents, "knows", tmp_path / "2")
    assert better.metrics["decision"] == "deploy" and better.metrics["gain"] == pytest.approx(4 / 12)
    assert endpoint.health()["digest"] == "knows-digest" and endpoint.ask(TEXT) == "web"

    refused = deploy(endpoint, encoders, documents, "guesses", tmp_path / "3")
    assert refused.metrics["decision"] == "keep" and endpoint.health()["digest"] == "knows-digest"

    decoder = deploy(endpoint, encoders, documents, "good", tmp_path / "4")
    assert decoder.metrics["decision"] == "deploy" and endpoint.ask(TEXT) == "web", "kinds are judged by one measure"
    back = deploy(endpoint, encoders, documents, "knows", tmp_path / "5")
    assert back.metrics["decision"] == "deploy" and endpoint.ask(f"{TEXT} " * 100) == "web", "a long text is cut"


def test_canaries_and_feedback_of_an_encoder(endpoint, encoders, documents, tmp_path):
    deploy(endpoint, encoders, documents, "guesses", tmp_path / "1")
    headers = {"authorization": f"Bearer {endpoint.api_key()}"}
    with httpx.Client(base_url=endpoint.url, headers=headers) as http:
        reply = http.post("/v1/classify", json={"model": "llm-assets", "input": TEXT}).json()
        http.post("/v1/feedback", json={"id": reply["id"], "rating": "down", "correction": "web"})
        http.post("/v1/classify", json={"model": "llm-assets", "input": [TEXT, TEXT]})
    measured = measure(endpoint.home, endpoint, endpoint.current(), documents, MonitoringConfig(), seed=1)
    assert measured.metrics["canary_accuracy"] == pytest.approx(8 / 12) and measured.metrics["available"] == 1
    assert measured.metrics["requests"] == 2, "probes are no traffic"
    assert measured.metrics["feedback_samples"] == 1 and measured.metrics["feedback_accuracy"] == 0
    assert measured.metrics["drift_samples"] == 1, "a label for several texts is no text's label"
    assert accept_feedback(endpoint.home).count == 1


def test_an_encoder_without_classes_is_not_deployed(endpoint, encoders, documents, tmp_path):
    plain = tmp_path / "plain"
    shutil.copytree(encoders["knows"], plain)
    write_json(read_json(plain / PACKAGE) | {"labels": []}, plain / PACKAGE)
    with pytest.raises(UserError, match="no classes"):
        deploy(endpoint, {"plain": plain}, documents, "plain", tmp_path / "1")
    assert endpoint.current() is None
