"""The whole graph as it ships, on people's own labelled texts: 77 kinds of customer query."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llm_assets.artifacts import DOCUMENTS, REPORT, read_json, read_table
from resources.store import MAIN, lineage
from resources.workspace import open_store

COMMAND = [sys.executable, "-m", "llm_assets.cli"]


class Factory:
    """`llm-assets` with `recipes/labelled_text.yaml` on the queries, in a state folder of its own."""

    def __init__(self, home: Path, data: Path, port: int) -> None:
        self.home = home
        self.environment = os.environ | {"LLM_ASSETS_HOME": str(home), "COLUMNS": "200"}
        self.settings = [
            f"data.sources.0.paths=[{data}/*.csv]",
            "data.sources.0.text_column=text",
            "data.sources.0.label_column=category",
            f"serving.port={port}",
        ]

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self) -> str:
        return self(*self.run_arguments())

    def run_arguments(self) -> list[str]:
        settings = [part for setting in self.settings for part in ("--set", setting)]
        return ["run", "--recipe", "labelled_text", *settings]


@pytest.fixture(scope="module")
def factory(real_data, tmp_path_factory, free_port):
    folder = real_data / "banking77"
    if not (folder / "train.csv").is_file():
        pytest.skip(f"no banking77 in {real_data}")
    factory = Factory(tmp_path_factory.mktemp("graph") / "home", folder, free_port())
    factory.first = factory.run()
    yield factory
    factory("down")


def test_every_artifact_is_made_gated_and_published(factory):
    assert "21 of 21 assets recomputed" in factory.first
    heads = open_store(factory.home).heads(MAIN)
    assert len(heads) == 21
    report = heads["evaluation_report"].summary.metrics
    assert report["finetuned_accuracy"] > 0.8
    assert report["baseline_accuracy"] > 0.8, "TF-IDF with logistic regression reaches 0.89 on the published split"
    assert report["int8_drop"] <= 0.01 and report["int8_size_ratio"] >= 3.5


def test_a_rerun_recomputes_nothing(factory):
    assert "0 of 21 assets recomputed" in factory.run()


def test_commands_that_look_use_the_recipe_of_the_last_run(factory):
    status = factory("status")
    assert status.count("fresh") == 21 and "stale" not in status


def test_a_model_leads_back_to_the_rows_it_was_trained_on(factory):
    store = open_store(factory.home)
    found = lineage(store, store.heads(MAIN)["release_candidate"])
    assert {"raw_documents", "finetuned_model", "tokenizer"} <= found.keys()
    labels = read_table(store.checkout(found["raw_documents"]) / DOCUMENTS)["label"].to_pylist()
    assert len(set(labels)) == 77


def test_the_endpoint_answers_the_official_client(factory, real_data):
    from openai import OpenAI

    port = factory.settings[-1].partition("=")[2]
    key = (factory.home / "endpoint" / "api_key").read_text().strip()
    client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key)
    with (real_data / "banking77" / "test.csv").open() as stream:
        rows = list(csv.DictReader(stream))[::40]
    right = 0
    for row in rows:
        messages = [{"role": "user", "content": row["text"]}]
        reply = client.chat.completions.create(model="llm-assets-route", messages=messages)
        right += reply.choices[0].message.content == row["category"]
    assert right / len(rows) > 0.75
    assert client.models.list().data


def test_the_report_names_every_variant(factory):
    store = open_store(factory.home)
    report = read_json(store.checkout(store.heads(MAIN)["evaluation_report"]) / REPORT)
    assert {"finetuned_model", "aligned_model", "pruned_model", "distilled_model", "quantized_model"} == set(
        report["variants"]
    ), json.dumps(report)[:500]


TIMED = {"evaluation_report", "deployed_endpoint", "monitoring_report"}  # they hold measured times, or another port


@pytest.mark.slow
def test_killing_each_step_leaves_a_state_from_which_the_rerun_completes(factory, tmp_path, free_port):
    """SIGKILL in every one of the 21 steps, each at a random moment; then the same versions as without."""
    killed = Factory(
        tmp_path / "home", Path(factory.settings[0].partition("[")[2].removesuffix("/*.csv]")), free_port()
    )
    store = open_store(killed.home)
    choose = random.Random(7)
    seconds = {name: version.metadata["work_seconds"] for name, version in open_store(factory.home).heads(MAIN).items()}
    for step in range(21):
        with (tmp_path / "run.log").open("wb") as log:
            run = subprocess.Popen([*COMMAND, *killed.run_arguments()], env=killed.environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 240
        while len(done := finished(tmp_path / "run.log")) < step:
            assert run.poll() is None, (tmp_path / "run.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        waiting = [name for name in seconds if name not in done]
        time.sleep(choose.random() * min(seconds[name] for name in waiting) + choose.random())
        run.kill()
        run.wait()
        assert not store.heads(MAIN), "a run that was killed published nothing"
    assert "21 of 21" not in killed.run(), "what had finished was not computed again"
    expected, found = open_store(factory.home).heads(MAIN), store.heads(MAIN)
    assert len(found) == 21
    for name, version in found.items():
        store.checkout(version)
        if name not in TIMED:
            assert version.data_version == expected[name].data_version, name
    assert not list((killed.home / "work").iterdir())
    killed("down")


def finished(log: Path) -> list[str]:
    """The assets whose step a run's output says is over."""
    return [line.split()[1] for line in log.read_text(errors="replace").splitlines() if line.strip().startswith("✓")]
