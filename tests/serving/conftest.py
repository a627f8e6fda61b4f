"""Packages and a live server for the tests of serving, monitoring and sensors."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import tiny_encoder
import tiny_package
from tiny_package import free_port

from llm_assets.serving.config import ServingConfig
from resources.endpoint import Endpoint


@pytest.fixture(scope="session")
def packages(tmp_path_factory) -> dict[str, Path]:
    """good: knows every label. worse: says another label for "web". broken: cannot be loaded."""
    root = tmp_path_factory.mktemp("packages")
    good = tiny_package.train(root / "good-checkpoint", {"arrays": "arrays", "tables": "tables", "web": "web"}, 60)
    worse = tiny_package.train(root / "worse-checkpoint", {"arrays": "arrays", "tables": "tables", "web": "arrays"}, 60)
    found = {
        "good": tiny_package.export(good, root / "good", 1.0),
        "worse": tiny_package.export(worse, root / "worse", 0.67),
    }
    return {**found, "broken": tiny_package.break_package(found["good"], root / "broken")}


@pytest.fixture(scope="session")
def encoders(tmp_path_factory) -> dict[str, Path]:
    """good: knows every label. worse: says arrays for web, and web for arrays. Their checkpoints lie beside them."""
    from llm_assets.compression.export_encoder import export_encoder

    root = tmp_path_factory.mktemp("encoders")
    for name, answers in (("good", tiny_encoder.SAME), ("worse", tiny_encoder.TURNED)):
        checkpoint = tiny_encoder.train(root / f"{name}-checkpoint", answers)
        export_encoder(checkpoint, root / name, "fp32", "finetuned_model")
    return {name: root / name for name in ("good", "worse")}


@pytest.fixture(scope="session")
def shipped(packages, tmp_path_factory):
    """good, worse: packages that hold their checkpoint, as `evaluation.release.checkpoint` has it."""
    root = tmp_path_factory.mktemp("shipped")
    for name in ("good", "worse"):
        shutil.copytree(packages[name], root / name)
        shutil.copytree(packages[name].parent / f"{name}-checkpoint", root / name / "checkpoint")
    return {name: root / name for name in ("good", "worse")}


@pytest.fixture(scope="session")
def documents(tmp_path_factory) -> Path:
    return tiny_package.write_documents(tmp_path_factory.mktemp("documents"))


@pytest.fixture
def endpoint(tmp_path):
    """An endpoint of its own folder, not started; stopped at the end."""
    made = Endpoint(tmp_path / "home", ServingConfig(port=free_port(), start_seconds=30), threads=1)
    yield made
    made.stop(seconds=3)


@pytest.fixture(scope="module")
def live(tmp_path_factory, packages):
    """One endpoint a module, serving the good package as "good-digest"."""
    with serving(tmp_path_factory.mktemp("live"), packages["good"], "good-digest") as made:
        yield made


@pytest.fixture(scope="module")
def live_encoder(tmp_path_factory, encoders):
    """One endpoint a module, serving the good encoder as "encoder-digest"."""
    with serving(tmp_path_factory.mktemp("live-encoder"), encoders["good"], "encoder-digest") as made:
        yield made


@contextmanager
def serving(home: Path, package: Path, digest: str) -> Iterator[Endpoint]:
    made = Endpoint(home, ServingConfig(port=free_port(), start_seconds=60), threads=1)
    made.deploy(package, digest)
    try:
        made.start()
        made.wait_serving(digest)
        yield made
    finally:
        made.stop(seconds=3)
