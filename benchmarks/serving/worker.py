"""An engine in a process of its own: `python -m benchmarks.serving.worker ENGINE MODEL THREADS VOCABULARY`.

Reads cells from standard input, one JSON object a line, and answers each with its samples. Whatever the engine's
libraries print goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from .workload import Cell, drive_batches, drive_steps


def main(name: str, model: str, threads: str, vocab: str) -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    engine = importlib.import_module(f"{__package__}.engines.{name}").Engine(Path(model), int(threads))
    print("ready", file=answers)
    for line in sys.stdin:
        cell = Cell(**json.loads(line))
        prompts = cell.prompts(int(vocab))
        if hasattr(engine, "generate"):
            samples = drive_batches(prompts, cell.concurrency, engine.generate)
        else:
            samples = drive_steps(prompts, cell.concurrency, engine.submit, engine.step, engine.end)
        print(json.dumps([asdict(sample) for sample in samples]), file=answers)
    os._exit(0)  # some libraries' threads never end


if __name__ == "__main__":
    main(*sys.argv[1:])
