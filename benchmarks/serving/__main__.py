"""`python -m benchmarks.serving`: our server beside llama.cpp, OpenVINO GenAI, onnxruntime-genai and transformers.

Same weights, same machine, two threads; a closed loop of 1, 4, 8 and 16 clients with distinct prompts of 128 tokens and
128 new tokens, greedy. Our server and llama-server are measured over HTTP, the others in their own process without it.
Rounds are interleaved and one engine runs at a time; the best of the rounds counts. Ends with status 1 where a bar is
missed.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import compare, own
from .bars import Bar
from .contenders import CONTENDERS, ROOT, Peers
from .models import SHAPES, prepare

PEERS = ROOT / ".venv" / "bench-serving"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--part", choices=("compare", "own", "all"), default="all")
    parser.add_argument("--models", nargs="+", choices=tuple(SHAPES), default=list(SHAPES))
    parser.add_argument(
        "--checkpoint", type=Path, help="a Llama's folder to measure in place of the demo's random weights"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="parts of the names of the engines to measure")
    parser.add_argument("--peers", type=Path, default=PEERS, help="the environment that `make bench-serving` builds")
    parser.add_argument("--work", type=Path, default=PEERS / "models", help="where the models are kept")
    parser.add_argument("--results", type=Path, help="a JSON file for everything that was measured")
    given = parser.parse_args()
    peers = Peers(given.peers)
    results: dict[str, Any] = {"cells": [], "own": {}}
    bars: list[Bar] = []
    for name in given.models:
        model = prepare(name, given.work / name, peers.python, given.checkpoint if name == "demo" else None)
        if given.part != "own":
            chosen = [
                c for c in CONTENDERS if not given.only or any(part in f"{c.name} {c.group}" for part in given.only)
            ]
            cells = compare.measure_rounds(model, peers, given.rounds, chosen)
            results["cells"] += cells
            bars += compare.bars(cells)
        if given.part != "compare":
            found, more = own.measure_all(model, peers, given.rounds)
            results["own"][name] = found
            bars += more
    results["bars"] = [asdict(bar) for bar in bars]
    if given.results:
        given.results.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    show(results["cells"], results["own"], bars)
    return 0 if all(bar.met for bar in bars) else 1


def show(cells: list[dict[str, Any]], own_figures: dict[str, Any], bars: list[Bar]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if sys.stdout.isatty() else 150)
    table = Table("model", "weights", "engine", "clients", title="best of the rounds")
    for heading in ("tokens/s", "TTFT p50", "p95 ms", "between p50", "p95 ms"):
        table.add_column(heading, justify="right")
    order = {group: at for at, group in enumerate(("int8", "int4", "fp32"))}
    for cell in sorted(cells, key=lambda cell: (cell["model"], order[cell["group"]], cell["concurrency"])):
        figures = [f"{value:,.0f}" if value >= 100 else f"{value:.1f}" for value in cell["best"].values()]
        table.add_row(cell["model"], cell["group"], cell["name"], str(cell["concurrency"]), *figures)
    if cells:
        console.print(table)
    for name, found in own_figures.items():
        console.print(name, found)
    judged = Table("bar", "found", "wanted", "")
    for bar in bars:
        judged.add_row(bar.name, f"{bar.found:.2f}", bar.wanted, "met" if bar.met else "[bold red]missed[/]")
    console.print(judged)


if __name__ == "__main__":
    sys.exit(main())
