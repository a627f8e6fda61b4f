"""Worker processes end as they should, and one that is killed is an error."""

from __future__ import annotations

import os
import subprocess
import sys
from operator import methodcaller, neg
from pathlib import Path

import psutil
import pytest

from llm_assets.data.executor import in_order, processes
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


def test_one_work_after_another_in_the_same_processes() -> None:
    with processes(2) as each:
        assert list(each(neg, range(20))) == [-number for number in range(20)]
        pids = set(each(methodcaller("__call__"), [os.getpid] * 20))
        assert list(each(abs, [-1, 2])) == [1, 2]
        pids |= set(each(methodcaller("__call__"), [os.getpid] * 20))
        assert len(pids) <= 2 and os.getpid() not in pids
    with processes(1) as each:
        assert list(each(methodcaller("__call__"), [os.getpid])) == [os.getpid()]
    with pytest.raises(UserError, match="worker process"), processes(2) as each:
        list(each(os._exit, [3]))
