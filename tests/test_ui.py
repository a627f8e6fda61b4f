"""The Dagster UI on the project's own top-level files, driven in a real browser as a person would."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resources.store import MAIN
from resources.workspace import open_store

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
STATE = {".venv", ".git", ".llm_assets", "tests", "docs", "__pycache__"}


class Ui:
    """Dagster's own commands in a copy of the project, without the `llm-assets` command."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.url = folder, f"http://127.0.0.1:{port}"
        shutil.copytree(ROOT, folder, ignore=lambda _, names: STATE & set(names))
        rows = [{"text": f"question number {n} about {n % 7} things", "label": "ab"[n % 2]} for n in range(400)]
        (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
        source = "{kind: files, paths: [rows.jsonl], text_column: text, label_column: label}"
        (folder / "recipes" / "mine.yaml").write_text(f"name: mine\ndata:\n  sources:\n    - {source}\n")
        hidden = ("LLM_ASSETS_HOME", "LLM_ASSETS_SET", "DAGSTER_HOME")
        self.environment = {key: value for key, value in os.environ.items() if key not in hidden}
        self.environment |= {"LLM_ASSETS_RECIPE": "mine", "PYTHONPATH": str(folder), "DAGSTER_HOME": str(folder)}
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            self.processes.append(
                subprocess.Popen(
                    [BIN / name, *arguments],
                    cwd=self.folder,
                    env=self.environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            )

    def stop(self) -> None:
        for number in (signal.SIGINT, signal.SIGKILL):
            for process in self.processes:
                try:
                    os.killpg(process.pid, number)
                    process.wait(20)
                except (ProcessLookupError, subprocess.TimeoutExpired):
                    continue

    def ask(self, query: str) -> dict[str, Any]:
        body = json.dumps({"query": query}).encode()
        request = urllib.request.Request(f"{self.url}/graphql", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as reply:
            return json.load(reply)["data"]

    def wait(self, what: str, ready: Callable[[], Any], seconds: float = 90) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if found := ready():
                    return found
            except OSError:  # the server is not up yet
                continue
            finally:
                time.sleep(0.2)
        logs = "\n".join(f"{path.name}: {path.read_text()[-2000:]}" for path in self.folder.glob("*.log"))
        pytest.fail(f"no {what} within {seconds} s\n{logs}")

    def assets(self) -> int:
        return len(self.ask("{assetNodes{id}}")["assetNodes"])

    def automation(self) -> dict[str, str]:
        """Sensor or schedule -> RUNNING or STOPPED."""
        states = "name sensors{name sensorState{status}} schedules{name scheduleState{status}}"
        found = self.ask(f"{{repositoriesOrError{{... on RepositoryConnection{{nodes{{{states}}}}}}}}}")
        (repository,) = found["repositoriesOrError"]["nodes"]
        sensors = {item["name"]: item["sensorState"]["status"] for item in repository["sensors"]}
        return sensors | {item["name"]: item["scheduleState"]["status"] for item in repository["schedules"]}


@pytest.fixture
def ui(tmp_path, free_port):
    ui = Ui(tmp_path / "project", free_port())
    yield ui
    ui.stop()


@pytest.fixture
def page():
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no `chromium` on PATH: install it to drive the UI in a browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page(viewport={"width": 1500, "height": 900})
        browser.close()


def test_dg_dev_works_on_the_project_as_it_is(ui):
    ui.start("dg", "dev", "--port", ui.url.rpartition(":")[2])
    assert ui.wait("graph", ui.assets) == 21


def test_a_person_materializes_sees_the_gates_and_switches_a_sensor(ui, page):
    """Dagster's webserver and daemon on the top-level files alone: the run is published without `llm-assets`."""
    from playwright.sync_api import expect

    ui.start("dagster-webserver", "-w", "workspace.yaml", "-h", "127.0.0.1", "-p", ui.url.rpartition(":")[2])
    assert ui.wait("graph", ui.assets) == 21
    # Only now: of two processes that make the same databases at once, both may fail.
    ui.start("dagster-daemon", "run", "-w", "workspace.yaml")
    page.goto(f"{ui.url}/assets/raw_documents")
    page.get_by_role("button", name="Materialize").first.click()
    store = open_store(ui.folder / ".llm_assets")
    assert ui.wait("published version", lambda: store.heads(MAIN)).keys() == {"raw_documents"}

    page.goto(f"{ui.url}/assets/raw_documents?view=checks")
    page.get_by_text("raw_ids_are_unique").first.wait_for()
    page.goto(f"{ui.url}/assets/raw_documents?view=overview")
    page.get_by_text("Documents per label").first.wait_for()

    assert ui.automation() == {"degradation": "RUNNING", "publish": "RUNNING", "monitor_schedule": "RUNNING"}
    page.goto(f"{ui.url}/automation")
    for name in ("degradation", "monitor_schedule"):
        row = page.locator("[class*=VirtualizedTable_row]").filter(has=page.get_by_text(name, exact=True))
        switch = row.locator("label[class*=formatSwitch]")
        for state in ("STOPPED", "RUNNING"):
            expect(switch.locator("input")).to_be_checked(checked=state == "STOPPED", timeout=30_000)
            expect(switch.locator("input")).to_be_enabled(timeout=30_000)  # it is not until the last click is answered
            switch.click()
            ui.wait(f"{state} {name}", lambda name=name, state=state: ui.automation()[name] == state)
