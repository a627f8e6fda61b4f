"""What several test modules need: free ports, an isolated state folder, the shared real data."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LONGEST = ("test_graph", "test_cli", "test_encoder", "test_ui", "test_vllm")  # files of few tests that take minutes


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that at the end no worker waits for another one's."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture(scope="session")
def free_port():
    """A function that gives a port nothing listens on now."""

    def find() -> int:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of public test data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}: set LLM_ASSETS_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def tiny_inputs(tmp_path_factory) -> Path:
    """documents, balanced, prompts and optimized, as the earlier stages leave them."""
    from tiny_models import write_inputs

    return write_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_inputs, tmp_path_factory) -> Path:
    """A tiny Llama that routes most of the tiny documents right."""
    from tiny_models import train_checkpoint

    return train_checkpoint(tiny_inputs, tmp_path_factory.mktemp("models") / "finetuned", steps=80)
