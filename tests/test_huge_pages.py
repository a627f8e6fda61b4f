"""Huge pages: asked for where the system gives them, in the command's own process and the endpoint's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from llm_assets import huge_pages

needs_them = pytest.mark.skipif(not huge_pages.available(), reason="a Linux that gives huge pages to who asks")


@needs_them
def test_the_setting_joins_what_is_there_and_leaves_a_decision_alone(monkeypatch):
    monkeypatch.delenv(huge_pages.VARIABLE, raising=False)
    assert huge_pages.asking() == {huge_pages.VARIABLE: "glibc.malloc.hugetlb=1"}
    monkeypatch.setenv(huge_pages.VARIABLE, "glibc.malloc.check=0")
    assert huge_pages.asking() == {huge_pages.VARIABLE: "glibc.malloc.check=0:glibc.malloc.hugetlb=1"}
    monkeypatch.setenv(huge_pages.VARIABLE, "glibc.malloc.hugetlb=0")
    assert huge_pages.asking() == {}


def test_systems_without_them_are_left_alone(monkeypatch, tmp_path):
    monkeypatch.delenv(huge_pages.VARIABLE, raising=False)
    for text in (None, "always madvise [never]\n", "[always] madvise never\n"):
        enabled = tmp_path / "enabled"
        if text:
            enabled.write_text(text, encoding="ascii")
        monkeypatch.setattr(huge_pages, "ENABLED", enabled)
        assert huge_pages.asking() == {}


@needs_them
def test_a_process_that_asks_begins_anew_as_itself():
    """The same number and arguments, memory in huge pages; no second beginning."""
    script = (
        "import os, sys; from pathlib import Path; from llm_assets import huge_pages; "
        "print(os.getpid(), flush=True); huge_pages.ask(); big = bytearray(64 << 20); big[::4096] = b'x' * 16384; "
        "print(*sys.argv[1:], Path('/proc/self/smaps_rollup').read_text())"
    )
    environment = {key: value for key, value in os.environ.items() if key != huge_pages.VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", script, "one", "two three"],
        env=environment, cwd=Path(__file__).parent.parent, capture_output=True, text=True, check=True,
    )  # fmt: skip
    first, second, *rest = done.stdout.splitlines()
    assert first == second and rest[0].startswith("one two three")
    assert int(re.search(r"AnonHugePages:\s+(\d+) kB", done.stdout)[1]) > 32 * 1024
