"""The embedded store against plain files, on this disk; exits with 1 when a bar is missed.

    python benchmarks/store.py                          # 1 GB, 1,000 small artifacts
    python benchmarks/store.py --megabytes 50 --artifacts 100

Both sides run in turn, and what is compared is their ratio: other work on the machine slows both.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from resources.cache import md5
from resources.dvc_store import DvcStore
from resources.store import Version

SPEED, RATE = 0.5, 50.0  # the bars: of copying and hashing; artifacts a second
ASSETS = 21  # of the graph
Result = TypeVar("Result")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="size of the large artifact")
    parser.add_argument("--artifacts", type=int, default=1000, help="number of small artifacts")
    parser.add_argument("--rounds", type=int, default=3, help="how often the large one is written by each side")
    parser.add_argument("--folder", type=Path, help="where to measure (the folder for temporary files)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-store-", dir=chosen.folder) as name:
        folder = Path(name)
        store = DvcStore(folder / "store")
        store.open_branch("run/1")
        rows = large(store, folder, chosen.megabytes, chosen.rounds) + small(store, folder, chosen.artifacts)
    table = Table("measured", "plain files", "store", "bar", "", title="Embedded version store")
    for row, kept in rows:
        table.add_row(*row, "" if kept is None else "[green]kept[/]" if kept else "[red]missed[/]")
    Console().print(table)
    return 0 if all(kept is not False for _, kept in rows) else 1


Row = tuple[tuple[str, str, str, str], bool | None]


def large(store: DvcStore, folder: Path, megabytes: int, rounds: int) -> list[Row]:
    """Write and read back one large file: the store hashes it twice, and waits until the disk has it."""
    plain, stored, writes, reads = [], [], [], []
    block = os.urandom(2**20)
    for number in range(rounds):
        out = folder / "out"
        out.mkdir()
        with (out / "model.bin").open("wb") as stream:
            for index in range(megabytes):
                stream.write(number.to_bytes(8) + index.to_bytes(8) + block[16:])
        os.sync()
        plain.append(timed(lambda: copy_and_hash(folder / "out" / "model.bin", folder / "copy"))[0])
        (folder / "copy").unlink()
        os.sync()
        wrote, version = timed(lambda: write(store, "large", folder / "out", number))  # noqa: B023
        read, checkout = timed(lambda: store.checkout(version))  # noqa: B023
        writes.append(wrote)
        reads.append(read)
        stored.append(wrote + read)
        same = (checkout / "model.bin").stat().st_ino == (out / "model.bin").stat().st_ino
        again, _ = timed(lambda: store.checkout(version))  # noqa: B023
        shutil.rmtree(out)
    ratio = statistics.median(p / s for p, s in zip(plain, stored, strict=True))
    rate = [f"{megabytes / statistics.median(seconds):,.0f} MB/s" for seconds in (plain, stored)]
    parts = f"(write {statistics.median(writes):.2f} s, read {statistics.median(reads):.2f} s)"
    return [
        ((f"{megabytes} MB written and read back", f"{rate[0]} (copy, hash)", f"{rate[1]} {parts}", ""), None),
        (("   the store's speed to that of plain files", "1", f"{ratio:.2f}", f"{SPEED}"), ratio >= SPEED),
        (("   its checkout is the stored file itself", "", "the same inode" if same else "a copy", "same"), same),
        (("   checked out again", "", f"{again * 1000:.1f} ms", ""), None),
    ]


def small(store: DvcStore, folder: Path, artifacts: int) -> list[Row]:
    """Commit small artifacts one after the other, each on the disk before the next; plain files are synced too."""
    plain = stored = 0.0
    for number in range(artifacts):
        out = folder / f"small{number}"
        out.mkdir()
        (out / "report.json").write_text(f'{{"number": {number}}}' * 50)
        plain += timed(lambda: copy_and_hash(out / "report.json", folder / "copy", durable=True))[0]  # noqa: B023
        stored += timed(lambda: write(store, f"asset{number % ASSETS}", out, number))[0]  # noqa: B023
    heads = min(timed(lambda: store.heads("run/1"))[0] for _ in range(10))
    rates = artifacts / plain, artifacts / stored
    return [
        (
            (
                f"{artifacts} small artifacts",
                f"{rates[0]:,.0f} /s (copy, hash, sync)",
                f"{rates[1]:,.0f} /s",
                f"{RATE:.0f} /s",
            ),
            rates[1] >= RATE,
        ),
        ((f"versions of {ASSETS} assets looked up", "", f"{heads * 1000:.1f} ms", ""), None),
    ]


def write(store: DvcStore, asset: str, out: Path, number: int) -> Version:
    return store.write("run/1", asset, out, fingerprint=f"{asset}-{number}", inputs={}, metadata={"summary": {}})


def copy_and_hash(source: Path, target: Path, durable: bool = False) -> str:
    shutil.copy(source, target)
    if durable:
        with target.open("rb") as stream:
            os.fsync(stream.fileno())
    return md5(target)


def timed(work: Callable[[], Result]) -> tuple[float, Result]:
    begun = time.perf_counter()
    result = work()
    return time.perf_counter() - begun, result


if __name__ == "__main__":
    raise SystemExit(main())
