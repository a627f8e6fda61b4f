"""The commands about versions as a person uses them."""

from __future__ import annotations

import os
import subprocess
import sys

from small_world import Small


def command(small: Small, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "llm_assets.cli", *arguments],
        env=os.environ | small.environment | {"COLUMNS": "220"},
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
    return done


def test_lineage_history_and_diff_are_printed(small):
    tree = command(small, "lineage", "balanced_documents", "--rows", "2").stdout
    for part in (
        "balanced_documents",
        "raw_documents",
        "v3",
        "CC0-1.0",
        "python:rich",
        "data.clean",
        "made with Python",
    ):
        assert part in tree, tree
    down = command(small, "lineage", small.feedback[0], "--downstream").stdout
    assert "cleaned_documents" in down and "v3, v2" in down and "holds" in down
    releases = command(small, "history").stdout
    assert releases.index("v3") < releases.index("v1") and "cleaned_documents rows" in releases
    assert "v2" in command(small, "history", "cleaned_documents").stdout
    states = command(small, "diff", "v1", "v2").stdout
    assert "raw_documents" in states and "feedback_rows 0 → 2" in states
    rows = command(small, "diff", "raw_documents@v1", "raw_documents@v2").stdout
    assert "2 added" in rows and "1 changed" in rows and "hands over what" in rows
    wrong = command(small, "lineage", "raw_document")
    assert wrong.returncode == 1 and "raw_documents" in wrong.stdout
