"""Monitoring a live endpoint: simulated people, a report, and what it says when the model is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import httpx
import pytest
import tiny_encoder
import tiny_package

from llm_assets.artifacts import PACKAGE, read_json, write_json
from llm_assets.compression.export_encoder import export_encoder
from llm_assets.errors import UserError
from llm_assets.monitoring.config import MonitoringConfig, Rule
from llm_assets.monitoring.measure import measure
from llm_assets.monitoring.report import write_report
from llm_assets.monitoring.simulate import simulate
from llm_assets.serving.traffic import read_traffic

RULES = (Rule(metric="feedback_accuracy", below_baseline=0.1, min_samples=20, action="retrain"),)


def report(endpoint, documents, out, **settings):
    out.mkdir()
    config = MonitoringConfig(rules=RULES, **settings)
    measured = measure(endpoint.home, endpoint, endpoint.current(), documents, config, seed=7)
    return write_report(measured, config, out, "state")


def test_degradation_shows_and_a_better_model_starts_afresh(endpoint, packages, documents, recipe_for, tmp_path):
    endpoint.deploy(packages["worse"], "worse-digest")
    endpoint.start()
    endpoint.wait_serving("worse-digest")
    recipe = recipe_for(endpoint)
    result = simulate(endpoint.home, recipe, 60, feedback_share=1.0, seed=3, documents=documents)
    assert result["requests"] == 60 and result["errors"] == 0
    assert 0.4 < result["accuracy"] < 0.9 and result["feedback"] == result["route_requests"]

    # The tiny package claims the accuracy it has; with a higher claim it is degraded.
    fine = report(endpoint, documents, tmp_path / "1")
    assert fine.metrics["baseline_accuracy"] == 0.67
    package = endpoint.folder / "packages" / "worse-digest" / "package.json"
    package.write_text(json.dumps(read_json(package) | {"metrics": {"accuracy": 0.95}}))
    summary = report(endpoint, documents, tmp_path / "2")
    m = summary.metrics
    assert m["degraded"] is True and m["reasons"] == "feedback_accuracy" and m["champion"] == "worse-digest"
    assert m["feedback_accuracy"] == pytest.approx(result["accuracy"])
    assert m["requests"] == 60 and m["feedback_samples"] == result["route_requests"] and m["error_rate"] == 0
    assert m["canary_samples"] == 12 and m["canary_accuracy"] == pytest.approx(8 / 12)
    assert 0 < m["latency_p50_ms"] <= m["latency_p95_ms"] <= m["latency_p99_ms"]
    assert m["drift_samples"] == result["route_requests"] and "drift_labels" in m
    assert summary.samples and summary.samples[0]["right answer"] == "web"
    assert {"Accuracy", "Latency, ms"} <= set(summary.bars) and len(summary.curves) == 2
    page = (tmp_path / "2" / "report.html").read_text()
    assert page.count("data:image/png;base64,") >= 5 and "http" not in page.replace("http request", "")
    stored = read_json(tmp_path / "2" / "report.json")
    assert stored["findings"][0]["action"] == "retrain" and len(stored["probes"]) == 12

    endpoint.deploy(packages["good"], "good-digest")
    endpoint.wait_serving("good-digest")
    better = report(endpoint, documents, tmp_path / "3")
    assert (better.metrics["degraded"], better.metrics["requests"], better.metrics["accuracy"]) == (
        False,
        0,
        1.0,
    )


def test_a_dead_endpoint_is_reported_and_does_not_hang(endpoint, packages, documents, tmp_path):
    endpoint.deploy(packages["good"], "good-digest")
    summary = report(endpoint, documents, tmp_path / "1")
    assert summary.metrics["available"] == 0 and summary.metrics["canary_accuracy"] == 0
    config = MonitoringConfig()
    measured = measure(endpoint.home, endpoint, endpoint.current(), documents, config, seed=7)
    found = write_report(measured, config, tmp_path / "1", "state")
    assert "available" in found.metrics["warnings"]


def test_simulation_says_what_is_missing(live, documents, recipe_for, endpoint):
    with pytest.raises(UserError, match="no endpoint answers"):
        simulate(endpoint.home, recipe_for(endpoint), 5, documents=documents)
    with pytest.raises(UserError, match=r"monitoring\.shift_packages"):
        simulate(live.home, recipe_for(live), 5, shift=True)


def test_feedback_share_and_seed(live, documents, recipe_for):
    recipe = recipe_for(live)
    one = simulate(live.home, recipe, 40, feedback_share=0.25, seed=1, documents=documents)
    two = simulate(live.home, recipe, 40, feedback_share=0.25, seed=1, documents=documents)
    assert one["accuracy"] == two["accuracy"] == 1.0
    assert 2 <= one["feedback"] == two["feedback"] <= 18 and one["corrections"] == 0
    metrics = httpx.get(f"{live.url}/metrics").text
    assert 'llm_assets:feedback_total{corrected="false",rating="up"}' in metrics
    assert tiny_package.LABELS


def test_people_ask_an_encoder_too(endpoint, documents, recipe_for, tmp_path):
    """Simulated traffic and the chat command, through /v1/classify."""
    answers = {"arrays": "arrays", "tables": "tables", "web": "arrays"}
    checkpoint = tiny_encoder.train(tmp_path / "checkpoint", answers)
    export_encoder(checkpoint, tmp_path / "package", "fp32", "finetuned_model")
    endpoint.deploy(tmp_path / "package", "encoder-digest")
    endpoint.start()
    endpoint.wait_serving("encoder-digest")
    result = simulate(endpoint.home, recipe_for(endpoint), 60, seed=3, documents=documents)
    assert result["errors"] == 0 and result["route_requests"] == result["feedback"] == 60
    assert result["accuracy"] == pytest.approx(1 - result["corrections"] / 60) and 10 < result["corrections"] < 30
    traffic = read_traffic(endpoint.home)
    assert set(traffic["digest"]) == {"encoder-digest"} and traffic["rating"].notna().sum() == 60
    wrong = traffic[traffic["rating"] == "down"]
    assert set(wrong["reply"]) == {"arrays"} and set(wrong["correction"]) == {"web"}

    for more in ([], ["--model", "llm-assets"]):
        assert re.fullmatch(r"tables \([01]\.\d\d\)", chat(endpoint, "read a csv file", *more)), more
    assert "model 'other' does not exist; this server has llm-assets" in chat(
        endpoint, "x", "--model", "other", status=1
    )

    package = endpoint.folder / "packages" / "encoder-digest" / PACKAGE
    write_json(read_json(package) | {"labels": []}, package)
    with pytest.raises(UserError, match="encoder-digest, which is deployed, is an encoder without classes"):
        simulate(endpoint.home, recipe_for(endpoint), 5, documents=documents)


def chat(endpoint, *said: str, status: int = 0) -> str:
    """What `llm-assets chat` prints."""
    environment = os.environ | {
        "LLM_ASSETS_HOME": str(endpoint.home),
        "LLM_ASSETS_SET": json.dumps([f"serving.port={endpoint.port}"]),
        "COLUMNS": "200",
    }
    environment.pop("LLM_ASSETS_RECIPE", None)
    command = [sys.executable, "-m", "llm_assets.cli", "chat", *said]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == status and "Traceback" not in done.stderr, done
    return done.stdout.strip()
