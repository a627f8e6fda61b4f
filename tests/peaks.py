"""Memory that a piece of work holds at its peak, counted: what an allocator keeps back does not show."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COUNTED = """
import tracemalloc
import pyarrow

def peak(work):
    tracemalloc.start()
    work()
    # Python's objects, NumPy's arrays, Arrow's buffers (of these the most of all works so far)
    found = tracemalloc.get_traced_memory()[1] + pyarrow.default_memory_pool().max_memory()
    tracemalloc.stop()
    return found
"""


def printed(code: str, *arguments: object) -> list[int]:
    """The numbers that a process of its own prints, whose `code` can ask for `peak(work)` in bytes."""
    command = [sys.executable, "-c", COUNTED + textwrap.dedent(code), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    return list(map(int, done.stdout.split()))
