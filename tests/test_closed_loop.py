"""The loop, closed by real processes: webserver, daemon and endpoint of `llm-assets up`.

Shifted traffic, accuracy falls, the sensor fires once, the graph retrains with the corrections, the endpoint serves the
new model, accuracy recovers.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
RECIPE = ROOT / "tests" / "recipes" / "loop.yaml"


class Loop:
    """`llm-assets up` on the small recipe, in a state folder of its own."""

    def __init__(self, home: Path, ui_port: int, endpoint_port: int) -> None:
        self.home, self.ui = home, f"http://127.0.0.1:{ui_port}"
        self.endpoint = f"http://127.0.0.1:{endpoint_port}"
        self.environment = os.environ | {
            "LLM_ASSETS_HOME": str(home),
            "LLM_ASSETS_RECIPE": str(RECIPE),
            "LLM_ASSETS_SET": json.dumps([f"serving.port={endpoint_port}"]),
        }
        self.output = home.parent / "up.log"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "llm_assets.cli", "up", "--port", str(ui_port)],
            env=self.environment,
            stdout=self.output.open("wb"),
            stderr=subprocess.STDOUT,
        )

    def wait(self, what: str, seconds: float, ready: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := ready():
                return found
            assert self.process.poll() is None, f"`up` ended while waiting for {what}:\n{self.output.read_text()}"
            time.sleep(1)
        logs = "\n".join(path.read_text()[-3000:] for path in self.home.glob("logs/*.log"))
        pytest.fail(f"no {what} within {seconds} s\n{self.output.read_text()[-3000:]}\n{logs}")

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.endpoint}/health", timeout=5) as reply:
            return json.load(reply)

    def simulate(self, *arguments: str) -> float:
        done = subprocess.run(
            [sys.executable, "-m", "llm_assets.cli", "simulate", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return float(re.search(r"\baccuracy ([\d.]+)", done.stdout)[1])

    def runs(self) -> list[dict[str, Any]]:
        """The runs the UI shows, newest first, over its own GraphQL."""
        query = "{runsOrError{... on Runs{results{runId status jobName tags{key value}}}}}"
        request = urllib.request.Request(
            f"{self.ui}/graphql", json.dumps({"query": query}).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)["data"]["runsOrError"]["results"]

    def retrains(self) -> list[dict[str, Any]]:
        return [run for run in self.runs() if run["jobName"] == "retrain"]


@pytest.fixture
def loop(tmp_path, free_port):
    loop = Loop(tmp_path / "home", free_port(), free_port())
    yield loop
    if loop.process.poll() is None:
        loop.process.send_signal(signal.SIGINT)
        loop.process.wait(60)


@pytest.mark.slow
def test_degradation_heals_itself(loop: Loop):
    loop.wait("links", 300, lambda: "Ctrl-C stops" in loop.output.read_text())
    champion = loop.health()["digest"]
    usual = loop.simulate("-n", "120", "--feedback", "0.5")
    shifted = loop.simulate("-n", "400", "--shift", "--seed", "1")
    assert shifted < usual - 0.3, "texts of unknown packages must cost accuracy"

    loop.wait("retrain run", 180, loop.retrains)
    loop.wait("end of the retrain run", 400, lambda: loop.retrains()[0]["status"] in ("SUCCESS", "FAILURE"))
    assert [run["status"] for run in loop.retrains()] == ["SUCCESS"]
    assert loop.health()["digest"] != champion

    recovered = loop.simulate("-n", "200", "--shift", "--seed", "2")
    share = (recovered - shifted) / (usual - shifted)
    print(f"usual {usual:.3f}, shifted {shifted:.3f}, recovered {recovered:.3f}: {share:.0%} of the loss")
    assert share >= 0.8

    reports = sum(run["jobName"] == "monitor" for run in loop.runs())
    loop.wait("another report", 150, lambda: sum(run["jobName"] == "monitor" for run in loop.runs()) > reports + 1)
    assert len(loop.retrains()) == 1, "one degradation starts one run"

    loop.process.send_signal(signal.SIGINT)
    assert loop.process.wait(60) == 0
    with pytest.raises(OSError):
        loop.health()
