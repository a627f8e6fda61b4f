"""Going back: main and a live endpoint, under a stream of real requests."""

from __future__ import annotations

import json
import sys
import threading
import urllib.request
from pathlib import Path

import dagster as dg
import pytest
from small_world import write_version

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "serving"))

import tiny_package

from llm_assets.errors import UserError
from llm_assets.publish import report_versions
from llm_assets.serving.config import PromotionConfig, ServingConfig
from llm_assets.serving.deploy import deploy_candidate
from llm_assets.versions.rollback import roll_back
from resources.endpoint import Endpoint
from resources.store import MAIN
from sensors.degradation import latest_observation


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    """good: knows every label. worse: says another label for "web"."""
    root = tmp_path_factory.mktemp("packages")
    answers = {"arrays": "arrays", "tables": "tables", "web": "web"}
    good = tiny_package.train(root / "good-checkpoint", answers, 60)
    worse = tiny_package.train(root / "worse-checkpoint", answers | {"web": "arrays"}, 60)
    return {
        "good": tiny_package.export(good, root / "good", 1.0),
        "worse": tiny_package.export(worse, root / "worse", 0.67),
    }


class World:
    """v1 deployed the good package, v2 the worse one."""

    def __init__(self, store, folder: Path, packages: dict[str, Path], port: int) -> None:
        self.store = store
        self.endpoint = Endpoint(folder, ServingConfig(port=port, start_seconds=30), threads=1)
        self.digests = []
        for number, name in enumerate(("good", "worse"), 1):
            branch = f"run/{number}"
            files = {path.name: path.read_bytes() for path in packages[name].iterdir()}
            raw = write_version(store, folder, "raw_documents", rows={f"row{number}": None}, branch=branch)
            package = write_version(store, folder, "release_candidate", files=files, inputs=[raw], branch=branch)
            record = json.dumps({"digest": package.data_version}).encode()
            files = {"deployment.json": record}
            write_version(store, folder, "deployed_endpoint", files=files, inputs=[package], branch=branch)
            store.publish(branch, f"run {number}")
            self.endpoint.deploy(store.checkout(package), package.data_version)
            self.digests.append(package.data_version)


@pytest.fixture
def world(store, tmp_path, packages, free_port):
    made = World(store, tmp_path, packages, free_port())
    yield made
    made.endpoint.stop(seconds=3)


def contents(store, ref):
    return {name: version.data_version for name, version in store.heads(ref).items()}


def ask(endpoint, text: str) -> str:
    request = urllib.request.Request(
        f"{endpoint.url}/v1/chat/completions",
        json.dumps({"model": "llm-assets-route", "messages": [{"role": "user", "content": text}]}).encode(),
        {"Authorization": f"Bearer {endpoint.api_key()}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return str(json.load(reply)["choices"][0]["message"]["content"])


def test_main_and_the_live_endpoint_go_back_with_no_failed_request(world):
    world.endpoint.start()
    world.endpoint.wait_serving(world.digests[1])
    stop, replies, failures = threading.Event(), [], []

    def stream() -> None:
        while not stop.is_set():
            try:
                replies.append(ask(world.endpoint, "follow a redirect"))
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=stream) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        while len(replies) < 10 and not failures:
            stop.wait(0.01)
        done = roll_back(world.store, world.endpoint, "v1")
        seen = len(replies)
        while len(replies) < seen + 10 and not failures:
            stop.wait(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    assert replies[0] == "arrays" and replies[-1] == "web", "the worse package answered before, the good one after"
    assert done.published.name == "v3" and done.swapped and done.running and done.digest == world.digests[0]
    assert contents(world.store, MAIN) == contents(world.store, "v1")
    assert [release.name for release in world.store.releases()] == ["v3", "v2", "v1"], "history goes on"
    assert world.endpoint.health()["digest"] == world.digests[0]

    again = roll_back(world.store, world.endpoint, "v1")
    assert again.published is None and not again.swapped, "going back twice changes nothing"


def test_a_stopped_endpoint_serves_it_when_it_starts(world):
    done = roll_back(world.store, world.endpoint, "v1")
    assert done.swapped and not done.running
    world.endpoint.start()
    world.endpoint.wait_serving(world.digests[0])
    assert ask(world.endpoint, "follow a redirect") == "web"


def test_the_package_gone_back_from_is_not_promoted_again_until_it_is_gone_back_to(world, packages, tmp_path):
    documents = tiny_package.write_documents(tmp_path / "documents")
    roll_back(world.store, world.endpoint, "v1")

    def deploy(out: str):
        (tmp_path / out).mkdir()
        return deploy_candidate(
            world.endpoint,
            candidate=packages["worse"],
            digest=world.digests[1],
            documents=documents,
            out=tmp_path / out,
            promotion=PromotionConfig(tolerance=0.9),
            threads=1,
        ).metrics

    kept = deploy("1")
    assert kept["decision"] == "keep" and "went back" in kept["reason"]
    assert world.endpoint.current()["digest"] == world.digests[0]
    roll_back(world.store, world.endpoint, "v2")
    assert world.endpoint.current()["digest"] == world.digests[1]
    assert world.endpoint.withdrawn() == {world.digests[0]}


def test_a_damaged_or_erased_release_is_refused_before_anything_changes(world):
    before = contents(world.store, MAIN), world.endpoint.current()
    world.store.forget(world.store.versions("raw_documents")[1:])
    with pytest.raises(UserError, match=r"(?s)v1 cannot be gone back to.*raw_documents.*erased"):
        roll_back(world.store, world.endpoint, "v1")
    assert (contents(world.store, MAIN), world.endpoint.current()) == before
    with pytest.raises(UserError, match="v2, v1"):
        roll_back(world.store, world.endpoint, "v7")


def test_dagster_is_told_and_the_degradation_sensor_has_no_verdict(world):
    with dg.DagsterInstance.ephemeral() as instance:
        report_versions(instance, {"monitoring_report": world.store.heads("v1")["release_candidate"]}, "went back")
        assert latest_observation(instance) is None
        event = instance.get_latest_materialization_event(dg.AssetKey("monitoring_report"))
        assert event.asset_materialization.tags["dagster/data_version"] == world.digests[0]
