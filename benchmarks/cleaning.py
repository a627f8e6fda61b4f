"""How fast cleaning is, beside its peers: same corpus, same rules, same cores, in turns within one run.

    python benchmarks/cleaning.py                     rules against datatrove, near duplicates against datasketch, all

The peers run in an environment of their own, since they pin other versions:

    python -m venv .venv/bench && .venv/bench/bin/pip install datatrove==0.10.1 datasketch==2.0.0 spacy regex ftfy

Ends with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from llm_assets.data.clean import clean_documents
from llm_assets.data.clean_config import QualityConfig
from llm_assets.data.config import CleanConfig, NearDuplicateConfig
from llm_assets.data.dedup import find_duplicates
from llm_assets.data.executor import in_order
from llm_assets.data.quality_rules import quality_steps
from llm_assets.data.rows import TableWriter, documents_table, text_hash
from llm_assets.data.steps import Step, run_step

ROOT = Path(__file__).resolve().parent.parent
CORES = 2
RULES = {name: {"enabled": True} for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb")}
RULES_BAR, MINHASH_BAR, STEP_BAR, AGREEMENT_BAR = 5.0, 10.0, 5000.0, 0.99
STEPS = CleanConfig.model_validate({"white_space": "lines", "quality": RULES, "pii": {"enabled": True}})
SENTENCE = re.compile(r"(?<=[.!?])\s+")

Row = tuple[str, str, str, str, bool]


def corpus(folder: Path) -> list[str]:
    """Web pages, news and instructions from the test data; without it, documentation of installed packages."""
    texts: list[str] = []
    if (folder / "near_dup").is_dir():
        lines = (folder / "near_dup" / "articles_1000.train").read_text(encoding="utf-8").splitlines()
        texts += [line.split(" ", 1)[1] for line in lines]
        with (folder / "llamafactory" / "c4_demo.jsonl").open(encoding="utf-8") as stream:
            texts += [json.loads(line)["text"] for line in stream]
        for path in sorted((folder / "warc" / "multiple_files").glob("*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as stream:
                texts += [json.loads(line)["text"] for line in stream]
        for path in sorted((folder / "p3_t0_50k").glob("*.jsonl"))[::2]:
            with path.open(encoding="utf-8") as stream:
                rows = [json.loads(line) for _, line in zip(range(60), stream, strict=False)]
            texts += [" ".join(value for value in row.values() if isinstance(value, str)) for row in rows]
        return texts
    from llm_assets.data.acquire import read_sources
    from llm_assets.data.config import InstalledPackages

    found = read_sources([InstalledPackages(packages=["stdlib", "numpy", "pandas", "scipy"])], ROOT / ".llm_assets")
    return [text for text in found["text"].to_pylist() if text and len(text) > 200]


def grown(texts: list[str], seed: int = 0) -> Iterator[str]:
    """Texts of about 1 kB without end: sentences of real ones in new company."""
    draw = random.Random(seed)
    sentences = [part for text in texts for part in SENTENCE.split(text) if 20 < len(part) < 400]
    while True:
        parts: list[str] = []
        while sum(map(len, parts)) < 1000:
            parts.append(draw.choice(sentences))
        middle = len(parts) // 2
        yield " ".join(parts[:middle]) + "\n" + " ".join(parts[middle:])


def write_corpus(texts: Iterator[str], path: Path, rows: int) -> None:
    """A raw documents table of so many rows."""
    with TableWriter(path, documents_table([]).schema) as out:
        for first in range(0, rows, 5000):
            found = [
                {
                    "id": text_hash(f"bench {row}"), "text": next(texts), "source": "bench", "uri": f"bench:{row}",
                    "content_hash": "0" * 16, "parents": [], "steps": [],
                }
                for row in range(first, min(first + 5000, rows))
            ]  # fmt: skip
            out.write(documents_table(found).combine_chunks().to_batches()[0])


def judged(steps: list[Step], batch: pa.RecordBatch) -> dict[str, str]:
    """Reason by id of what the steps reject, in turn."""
    reasons: dict[str, str] = {}
    for step in steps:
        batch, gone, _ = run_step(step, batch)
        reasons |= dict(zip(gone["id"].to_pylist(), gone["reason"].to_pylist(), strict=True))
    return reasons


def our_rules(batch: pa.RecordBatch) -> dict[str, str]:
    return judged(quality_steps(STEPS.quality), batch)


def as_batches(texts: list[str], size: int) -> list[pa.RecordBatch]:
    rows = [
        {"id": str(n), "text": text, "source": "bench", "uri": str(n), "content_hash": "", "parents": [], "steps": []}
        for n, text in enumerate(texts)
    ]
    return documents_table(rows).combine_chunks().to_batches(max_chunksize=size)


def peer(python: Path, *arguments: str) -> dict:
    done = subprocess.run(
        [str(python), str(Path(__file__).with_name("cleaning_peers.py")), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise SystemExit(f"the peer failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def compare_rules(texts: list[str], python: Path, rounds: int, folder: Path) -> list[Row]:
    """Gopher, C4 and FineWeb rules: documents a second on two cores, and whether decisions agree."""
    path = folder / "rules.json"
    path.write_text(json.dumps(texts))
    batches = as_batches(texts, 250)
    ours, theirs, mine, other = [], [], {}, {}
    for _ in range(rounds):
        found = in_order(our_rules, [batches[0]] * (3 * CORES) + batches, CORES)  # the first start and warm the workers
        for _ in range(3 * CORES):
            next(found)
        started = time.perf_counter()
        mine = {name: reason for part in found for name, reason in part.items()}
        ours.append(len(texts) / (time.perf_counter() - started))
        other = peer(python, "rules", str(path), str(CORES))
        theirs.append(len(texts) / other["seconds"])
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    rows = [
        (
            "Gopher + C4 + FineWeb rules, 2 cores", f"{statistics.median(ours):,.0f}/s",
            f"datatrove {statistics.median(theirs):,.0f}/s", f"{ratio:.1f}x, bar {RULES_BAR:g}x", ratio >= RULES_BAR,
        )
    ]  # fmt: skip
    agreement = [(reason is None) == (str(row) not in mine) for row, reason in enumerate(other["reasons"])]
    named = [("all four in turn", agreement)]
    for place, rule in enumerate(RULES):
        steps = quality_steps(QualityConfig.model_validate({rule: {"enabled": True}}))
        gone = {name for batch in batches for name in judged(steps, batch)}
        same = [(each[place] is None) == (str(row) not in gone) for row, each in enumerate(other["each"])]
        named.append((rule, same))
    for name, same in named:
        share = sum(same) / len(same)
        rows.append((f"same decisions: {name}", f"{share:.2%}", f"{len(same) - sum(same)} of {len(same)} differ",
                     f"bar {AGREEMENT_BAR:.0%}", share >= AGREEMENT_BAR))  # fmt: skip
    return rows


def compare_minhash(texts: list[str], python: Path, rounds: int, folder: Path) -> list[Row]:
    """Near duplicates at Jaccard 0.7 of word 3-grams, candidates verified: one process each, by its CPU time."""
    path = folder / "minhash.json"
    path.write_text(json.dumps(texts))
    config = NearDuplicateConfig(threshold=0.7, same_start=0)
    find_duplicates(texts[:50], config)
    ours, theirs = [], []
    for _ in range(rounds):
        started = time.process_time()
        found = find_duplicates(texts, config)
        ours.append(len(texts) / (time.process_time() - started))
        other = peer(python, "minhash", str(path))
        theirs.append(len(texts) / other["seconds"])
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    mine, peers = {item.row for item in found}, {row for row, _ in other["pairs"]}
    return [
        (
            "near duplicates, 1 core", f"{statistics.median(ours):,.0f}/s",
            f"datasketch {statistics.median(theirs):,.0f}/s", f"{ratio:.1f}x, bar {MINHASH_BAR:g}x",
            ratio >= MINHASH_BAR,
        ),
        ("duplicates found", str(len(mine)), f"datasketch {len(peers)}, {len(mine ^ peers)} differ", "", True),
    ]  # fmt: skip


def whole_step(texts: list[str], rows: int, rounds: int, folder: Path) -> list[Row]:
    """Repair, markup, personal data, language, all quality rules, duplicates, splits: Parquet to Parquet, 2 cores."""
    raw, out = folder / "raw", folder / "out"
    raw.mkdir()
    out.mkdir()
    write_corpus(grown(texts), raw / "documents.parquet", rows)
    found: list[Row] = []
    for name, config in (("default steps", CleanConfig(white_space="lines")), ("and personal data, all rules", STEPS)):
        rates, work = [], []
        for _ in range(rounds):
            begun = cpu_seconds()
            summary = clean_documents(raw, out, config, workers=CORES)
            rates.append(float(summary.metrics["documents_per_second"]))
            work.append(rows / (cpu_seconds() - begun))
        rate = statistics.median(rates)
        load = f"{statistics.median(work):,.0f} a second of CPU"
        title = f"clean step on {rows:,} of 1 kB, {name}"
        found.append((title, f"{rate:,.0f}/s", load, f"bar {STEP_BAR:,.0f}/s", rate >= STEP_BAR))
    return found


def cpu_seconds() -> float:
    """Of this process and its ended children: tells work from waiting on a machine that others use too."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--documents", type=int, default=1500, help="of the comparison with datatrove")
    options.add_argument("--rows", type=int, default=40_000, help="of the whole clean step")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--peer", type=Path, default=ROOT / ".venv" / "bench" / "bin" / "python")
    data = os.environ.get("LLM_ASSETS_TEST_DATA") or ROOT.parent / "shared" / "data"
    options.add_argument("--data", type=Path, default=data)
    chosen = options.parse_args()
    texts = corpus(chosen.data)
    found: list[Row] = []
    parts = [
        lambda folder: compare_rules(spread(texts, chosen.documents), chosen.peer, chosen.rounds, folder),
        lambda folder: compare_minhash(texts, chosen.peer, chosen.rounds, folder),
        lambda folder: whole_step(texts, chosen.rows, chosen.rounds, folder),
    ]
    for part in parts:
        with tempfile.TemporaryDirectory(prefix="llm-assets-bench-", dir=os.environ.get("TMPDIR")) as folder:
            found += part(Path(folder))
    table = Table("measured", "here", "peer", "bar", "", title=f"Cleaning, {len(texts):,} texts")
    for name, here, there, bar, held in found:
        table.add_row(name, here, there, bar, "[green]held[/]" if held else "[red]missed[/]")
    Console().print(table)
    return 0 if all(row[-1] for row in found) else 1


def spread(texts: list[str], count: int) -> list[str]:
    """So many texts, taken evenly over all."""
    step = max(1, len(texts) // count)
    return texts[::step][:count]


if __name__ == "__main__":
    sys.exit(main())
