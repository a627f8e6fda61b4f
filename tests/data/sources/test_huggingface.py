"""Datasets of the Hugging Face kind: folders and files on this machine, a hub on loopback, and no hub."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hub import COMMIT, Hub

from llm_assets.data.acquire import read_sources
from llm_assets.data.config import HuggingFace
from llm_assets.data.sources.state import sources_state
from llm_assets.errors import UserError


def test_a_folder_with_parts(real_data: Path, tmp_path: Path) -> None:
    folder = str(real_data / "banking77")
    whole = {}
    for part, rows in (("train", 10003), ("test", 3080)):
        source = HuggingFace(dataset=folder, part=part, label_column="category", licence="CC-BY-4.0")
        table = read_sources([source], tmp_path)
        assert table.num_rows == rows
        assert len(set(table["label"].to_pylist())) == 77
        whole[part] = table
    assert whole["train"]["text"][0].as_py() == "I am still waiting on my card?"
    assert set(whole["test"]["id"].to_pylist()).isdisjoint(whole["train"]["id"].to_pylist())
    few = read_sources([HuggingFace(dataset=folder, max_rows=7)], tmp_path)
    assert few["text"].to_pylist() == whole["train"]["text"].to_pylist()[:7]


def test_one_file_and_class_names(real_data: Path, tmp_path: Path) -> None:
    file = str(real_data / "llamafactory" / "alpaca_en_demo.json")
    table = read_sources([HuggingFace(dataset=file, text_column="output", label_column="instruction")], tmp_path)
    assert table.num_rows > 900
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["ham", "spam"])})
    made = Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    made.to_parquet(tmp_path / "made.parquet")
    found = read_sources([HuggingFace(dataset=str(tmp_path / "made.parquet"), label_column="label")], tmp_path)
    assert found["label"].to_pylist() == ["spam", "ham", None]


def test_the_state_is_the_content(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "a"}\n')
    data = [HuggingFace(dataset=str(tmp_path))]
    before = sources_state(data, tmp_path)
    assert before == sources_state(data, tmp_path)
    file.write_text('{"text": "b", "x": 1}\n')
    assert sources_state(data, tmp_path) != before
    assert sources_state([HuggingFace(dataset="owner/name")], tmp_path) == ""


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"body": "a"}\n')
    for source, said in (
        (HuggingFace(dataset=str(file)), "no column 'text'; it has body"),
        (HuggingFace(dataset=str(tmp_path / "nowhere")), "there is no dataset at"),
        (HuggingFace(dataset=str(tmp_path), part="test"), "train"),
    ):
        with pytest.raises(UserError, match=said):
            read_sources([source], tmp_path)


def test_offline_the_hub_is_not_asked(tmp_path: Path) -> None:
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from llm_assets.data.acquire import read_sources
        from llm_assets.data.config import HuggingFace
        from llm_assets.errors import UserError
        try:
            read_sources([HuggingFace(dataset="owner/nowhere")], Path(sys.argv[1]))
        except UserError as error:
            print(error)
    """)
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, env=environment, timeout=120
    )
    assert "'owner/nowhere' of the Hugging Face hub cannot be had (HF_HUB_OFFLINE is set" in done.stdout, done.stderr


def test_a_dataset_of_the_hub_is_streamed_from_the_commit_that_is_named(tmp_path: Path) -> None:
    """Of a hub on loopback: its rows, and of a file of 40 MB no more than the rows that are wanted need."""
    lines = [json.dumps({"text": f"a good line, number {n}", "team": "ab"[n % 2]}) for n in range(50)]
    large = b"".join(json.dumps({"text": f"{n} " + "x" * 1000}).encode() + b"\n" for n in range(40_000))
    hub = Hub({"README.md": b"---\nlicense: mit\n---\n", "data/train.jsonl": "\n".join(lines).encode(),
               "data/test.jsonl": large})  # fmt: skip
    code = textwrap.dedent("""
        import json, sys
        from pathlib import Path
        from llm_assets.data.acquire import read_sources
        from llm_assets.data.config import HuggingFace
        for settings in json.loads(sys.argv[2]):
            rows = read_sources([HuggingFace(dataset="owner/name", **settings)], Path(sys.argv[1])).to_pylist()
            print(len(rows), rows[-1]["text"][:30], rows[-1]["label"], rows[-1]["uri"])
    """)
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    try:
        said = []
        for settings in ({"label_column": "team"}, {"part": "test", "revision": COMMIT, "max_rows": 5}):
            hub.log.clear()
            hub.sent = 0
            done = subprocess.run(
                [sys.executable, "-c", code, str(tmp_path), json.dumps([settings])],
                capture_output=True, text=True, env=environment, timeout=120,
            )  # fmt: skip
            said.append(done.stdout.strip() or done.stderr)
        assert said == [
            "50 a good line, number 49 b hf://datasets/owner/name/train#50",
            f"5 4 {'x' * 28} None hf://datasets/owner/name@{COMMIT}/test#5",
        ]
        assert 0 < hub.sent < len(large) / 2
        assert not any("/main" in asked for asked in hub.log), "the named commit alone"
    finally:
        hub.close()
