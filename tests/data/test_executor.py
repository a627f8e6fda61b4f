"""Worker processes end as they should, and one that is killed is an error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from llm_assets.data.executor import in_order
from llm_assets.errors import UserError


def test_a_killed_worker_is_an_error() -> None:
    with pytest.raises(UserError, match="worker process"):
        list(in_order(os._exit, [3], 2))


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    code = (
        "import os, time\n"
        "from llm_assets.data.executor import in_order\n"
        "from operator import methodcaller\n"
        "for pid in in_order(methodcaller('__call__'), [os.getpid] * 20, 2):\n"
        "    print(pid, flush=True)\n"
        "    time.sleep(0.5)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    worker = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    assert psutil.wait_procs([worker], timeout=60)[1] == []
