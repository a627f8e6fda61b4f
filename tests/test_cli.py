"""The command line as a person uses it: errors are lines, not stack traces, and say what to do."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = """
name: mine
data:
  sources:
    - {kind: files, paths: [PATH], text_column: text, label_column: label}
"""


def command(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LLM_ASSETS_HOME": str(home), "COLUMNS": "200"} | variables
    environment.pop("LLM_ASSETS_RECIPE", None)
    done = subprocess.run(
        [sys.executable, "-m", "llm_assets.cli", *arguments], env=environment, capture_output=True, text=True
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


@pytest.fixture
def home(tmp_path):
    return tmp_path / "home"


def recipe(tmp_path: Path, path: Path | str) -> str:
    (tmp_path / "mine.yaml").write_text(RECIPE.replace("PATH", str(path)))
    return str(tmp_path / "mine.yaml")


def test_an_unknown_recipe(home):
    done = command(home, "run", "--recipe", "nonesuch")
    assert done.returncode == 1
    assert "'nonesuch'" in done.stdout and "demo" in done.stdout


def test_a_wrong_key(tmp_path, home):
    done = command(home, "run", "--recipe", recipe(tmp_path, "x.csv"), "--set", "trainin.steps=3")
    assert done.returncode == 1
    assert "trainin" in done.stdout and "training" in done.stdout


def corrupt_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(b'{"text": "a", "label": "b"}\n' * 99)[:40])


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("missing.csv", None, ["missing.csv"]),
        ("empty.jsonl", lambda path: path.write_text(""), ["empty.jsonl"]),
        (
            "broken.jsonl",
            lambda path: path.write_text('{"text": "a", "label": "b"}\n{"text": \n'),
            ["broken.jsonl", "2"],
        ),
        ("short.jsonl.gz", corrupt_gzip, ["short.jsonl.gz"]),
        ("other.csv", lambda path: path.write_text("body,label\na,b\n"), ["other.csv", "text"]),
    ],
)
def test_a_bad_source_is_named_and_leaves_nothing(tmp_path, home, name, make, expected):
    if make:
        make(tmp_path / name)
    done = command(home, "run", "--select", "raw_documents", "--recipe", recipe(tmp_path, tmp_path / name))
    assert done.returncode == 1, done.stdout
    for part in expected:
        assert part in done.stdout
    assert not list(home.glob("work/*"))
    status = command(home, "status", "--recipe", recipe(tmp_path, tmp_path / name))
    assert status.stdout.count("missing") >= 21


def test_a_selection_is_run_published_and_shown(tmp_path, home):
    rows = [{"text": f"question number {n} about {n % 7} things", "label": "ab"[n % 2]} for n in range(400)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mine = recipe(tmp_path, tmp_path / "rows.jsonl")
    first = command(home, "run", "--select", "raw_documents", "--recipe", mine)
    assert first.returncode == 0, first.stdout
    assert "1 of 21 assets recomputed" in first.stdout
    again = command(home, "run", "--select", "raw_documents", "--recipe", mine)
    assert "0 of 21 assets recomputed" in again.stdout
    assert "rows 400" in command(home, "status", "--recipe", mine).stdout


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 8 MiB, and the function that makes it larger."""
    folder = tmp_path / "small"
    folder.mkdir()

    def mount(*options: str) -> int:
        return subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], capture_output=True).returncode

    if shutil.which("mount") is None or mount("-o", "size=8m"):
        pytest.skip("no right to mount a small file system: run as root to test a full disk")
    yield folder, lambda: mount("-o", "remount,size=200m")
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_and_the_rerun_completes(tmp_path, small_disk):
    folder, enlarge = small_disk
    draw = random.Random(7)
    with (tmp_path / "rows.jsonl").open("w") as stream:
        for number in range(400):
            text = f"{number} {draw.randbytes(25_000).hex()}"  # nothing a compressor could make small enough
            stream.write(json.dumps({"text": text, "label": "ab"[number % 2]}) + "\n")
    mine = recipe(tmp_path, tmp_path / "rows.jsonl")
    full = command(folder / "home", "run", "--select", "raw_documents", "--recipe", mine)
    assert full.returncode == 1
    assert "is full" in full.stdout and "Free some space" in full.stdout
    assert not list((folder / "home").glob("work/*"))
    assert "missing" in command(folder / "home", "status", "--recipe", mine).stdout
    assert enlarge() == 0
    again = command(folder / "home", "run", "--select", "raw_documents", "--recipe", mine)
    assert again.returncode == 0, again.stdout
    assert "1 of 21 assets recomputed" in again.stdout


def test_an_unknown_selection(tmp_path, home):
    done = command(home, "run", "--select", "nonesuch", "--recipe", recipe(tmp_path, "x.csv"))
    assert done.returncode == 1 and "nonesuch" in done.stdout


def test_a_port_in_use_is_named(home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = command(home, "up", "--port", str(port))
    assert done.returncode == 1
    assert str(port) in done.stdout and "--port" in done.stdout


def test_chat_without_an_endpoint(home, free_port):
    done = command(home, "chat", "hello", LLM_ASSETS_SET=json.dumps([f"serving.port={free_port()}"]))
    assert done.returncode == 1 and "llm-assets up" in done.stdout


def test_doctor_finds_a_sound_machine_and_names_damage(tmp_path, home, free_port):
    rows = [{"text": f"question number {n}", "label": "ab"[n % 2]} for n in range(400)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    mine = recipe(tmp_path, tmp_path / "rows.jsonl")
    command(home, "run", "--select", "raw_documents", "--recipe", mine)
    sound = command(home, "doctor", "--recipe", mine, "--port", str(free_port()))
    assert sound.returncode == 0, sound.stdout
    assert "1 artifacts on main" in sound.stdout
    stored = max(home.glob("store/cache/files/md5/*/*"), key=lambda path: path.stat().st_size)
    stored.chmod(0o644)
    stored.write_bytes(stored.read_bytes()[:-1] + b"?")
    harmed = command(home, "doctor", "--recipe", mine)
    assert harmed.returncode == 1
    assert "damaged" in harmed.stdout and str(stored) in harmed.stdout
