"""A corpus larger than memory through the whole clean step: documents a second by size, and the memory it takes.

    python benchmarks/out_of_core.py                  10 GB of text, and a tenth and a third of it
    python benchmarks/out_of_core.py --gb 1           1 GB, and its parts

Real texts are grown: their sentences in new company, about 1 kB a document, the same ones in every run. The corpus is
written as compressed Parquet and counted as uncompressed text. What cleaning leaves on disk meanwhile (documents
between its passes, hashes of n-grams) is about four times the text; a folder with room is named by TMPDIR.

Ends with 1 when all processes together ever held more memory than the bar, or cost per row grows with the rows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.cleaning import ROOT, SENTENCE, STEPS, corpus
from llm_assets.data.executor import cores
from llm_assets.data.rows import TableWriter, documents_table, text_hash

SHARES = (0.1, 0.3, 1.0)
MEMORY_GB, GROWTH = 2.0, 1.25  # of the CPU time a row, from the smallest size to the largest
BATCH = 5000
CHILD = """
import json, resource, sys
from pathlib import Path
from llm_assets.data.clean import clean_documents
from llm_assets.data.config import CleanConfig
raw, out, config, workers = sys.argv[1:]
summary = clean_documents(Path(raw), Path(out), CleanConfig.model_validate_json(config), workers=int(workers))
cpu = sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
print(json.dumps({"cpu": cpu, "kept": summary.metrics["rows"], "rejected": summary.metrics["rejected"]}))
"""


@dataclass(frozen=True)
class Measured:
    """One run. gb: of text; seconds: wall; cpu: of all processes; memory_gb: most PSS of all processes at once."""

    gb: float
    rows: int
    seconds: float
    cpu: float
    memory_gb: float
    kept: int


def grown(sentences: list[str], first: int, rows: int) -> Iterator[str]:
    """Documents number `first` on: which they are goes by their numbers alone."""
    for row in range(first, first + rows):
        draw = random.Random(row)
        parts: list[str] = []
        size = 0
        while size < 1000:
            part = sentences[int(draw.random() * len(sentences))]
            parts.append(part)
            size += len(part) + 1
        middle = len(parts) // 2
        yield " ".join(parts[:middle]) + "\n" + " ".join(parts[middle:])


def write_corpus(sentences: list[str], path: Path, size: int) -> tuple[int, int]:
    """(rows, bytes of text) of a raw documents table with so many bytes of text."""
    rows = written = 0
    with TableWriter(path, documents_table([]).schema) as out:
        while written < size:
            texts = list(grown(sentences, rows, BATCH))
            found = [
                {
                    "id": text_hash(f"grown {row}"), "text": text, "source": "grown", "uri": f"grown:{row}",
                    "content_hash": "0" * 16, "parents": [], "steps": [],
                }
                for row, text in enumerate(texts, rows)
            ]  # fmt: skip
            out.write(documents_table(found).combine_chunks().to_batches()[0])
            rows += len(texts)
            written += sum(len(text.encode()) for text in texts)
    return rows, written


def clean(folder: Path, rows: int, size: int) -> Measured:
    """Run the clean step over `folder`/raw in a process of its own, and watch it and its workers."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    command = [sys.executable, "-c", CHILD, str(folder / "raw"), str(out), STEPS.model_dump_json(), str(cores())]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    peak = [0]
    watch = threading.Thread(target=_watch, args=(child, peak))
    watch.start()
    printed = child.communicate()[0]
    seconds = time.perf_counter() - started
    watch.join()
    if child.returncode:
        raise SystemExit(f"cleaning {size / 1e9:g} GB ended with {child.returncode}")
    found = json.loads(printed.splitlines()[-1])
    if found["kept"] + found["rejected"] != rows:
        raise SystemExit(f"{rows} rows in, {found['kept']} kept and {found['rejected']} rejected")
    return Measured(size / 1e9, rows, seconds, found["cpu"], peak[0] / 1e9, found["kept"])


def _watch(child: subprocess.Popen, peak: list[int]) -> None:
    """The most proportional set size (what processes share counts once) of a process and its children, into `peak`."""
    import psutil

    while child.poll() is None:
        total = 0
        try:
            parent = psutil.Process(child.pid)
            for process in [parent, *parent.children(recursive=True)]:
                try:
                    total += process.memory_full_info().pss
                except psutil.Error:
                    continue
        except psutil.Error:
            break
        peak[0] = max(peak[0], total)
        time.sleep(0.25)


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--gb", type=float, default=10.0, help="of text, uncompressed")
    options.add_argument("--memory-gb", type=float, default=MEMORY_GB, help="the bar for all processes together")
    data = os.environ.get("LLM_ASSETS_TEST_DATA") or ROOT.parent / "shared" / "data"
    options.add_argument("--data", type=Path, default=data)
    chosen = options.parse_args()
    sentences = [part for text in corpus(chosen.data) for part in SENTENCE.split(text) if 20 < len(part) < 400]
    table = Table("text", "documents", "kept", "seconds", "documents/s", "CPU µs a document", "most memory")
    console, found = Console(), []
    for share in SHARES:
        with tempfile.TemporaryDirectory(prefix="llm-assets-bench-", dir=os.environ.get("TMPDIR")) as name:
            folder = Path(name)
            (folder / "raw").mkdir()
            rows, size = write_corpus(sentences, folder / "raw" / "documents.parquet", int(chosen.gb * share * 1e9))
            run = clean(folder, rows, size)
        found.append(run)
        row = [
            f"{run.gb:.2f} GB", f"{run.rows:,}", f"{run.kept:,}", f"{run.seconds:,.0f}", f"{rows / run.seconds:,.0f}",
            f"{run.cpu / rows * 1e6:.0f}", f"{run.memory_gb:.2f} GB",
        ]  # fmt: skip
        console.print(*row, sep="  ")
        table.add_row(*row)
    console.print(table)
    growth = (found[-1].cpu / found[-1].rows) / (found[0].cpu / found[0].rows)
    memory = max(run.memory_gb for run in found)
    held = growth <= GROWTH and memory < chosen.memory_gb
    console.print(f"cost a document grew {growth:.2f}-fold, bar {GROWTH}; {memory:.2f} GB, bar {chosen.memory_gb:g} GB")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
