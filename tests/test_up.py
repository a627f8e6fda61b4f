"""`llm-assets up` in its first seconds. What it does until Ctrl-C is in test_closed_loop.py."""

from __future__ import annotations

import os
import subprocess
import sys

WATCHED = """
import sqlite3, sys
from pathlib import Path
from llm_assets import services
from llm_assets.cli import main


def start_webserver(home, port):
    made = {path.name: path for path in Path(home).rglob("*.db")}
    for name in ("runs.db", "schedules.db", "index.db"):
        [(found,)] = sqlite3.connect(made[name]).execute("select count(*) from alembic_version")
        print(name, found)
    raise KeyboardInterrupt


services.start_webserver = start_webserver
sys.argv = ["llm-assets", "up", "--port", sys.argv[1], "--set", f"serving.port={sys.argv[2]}"]
main()
"""


def test_dagsters_database_is_there_before_a_second_process_wants_it(tmp_path, free_port):
    """Both would make it, and the one that comes second fails."""
    command = [sys.executable, "-c", WATCHED, str(free_port()), str(free_port())]
    environment = os.environ | {"LLM_ASSETS_HOME": str(tmp_path / "home"), "COLUMNS": "200"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    for name in ("runs.db", "schedules.db", "index.db"):
        assert f"{name} 1" in done.stdout, done.stdout + done.stderr
