"""Closed parts of the traffic log become Parquet: nothing is lost, doubled or kept too long, whatever is killed."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_traffic import record
from waiting import until

from llm_assets.serving.append_log import append
from llm_assets.serving.config import TrafficConfig
from llm_assets.serving.traffic import TrafficLog, keep_log, latest_requests, log_state, now, read_traffic, reply_record
from llm_assets.serving.traffic_parts import FEEDBACK, PROBES, REQUESTS, parts, records, scrub, to_parquet

SMALL = TrafficConfig(file_mb=1)
LARGE_TEXT = 30_000  # characters that do not compress: some 35 records a part
ROOT = Path(__file__).resolve().parents[2]


def noise(seed: int) -> str:
    return random.Random(seed).randbytes(LARGE_TEXT // 2).hex()


def yesterday(home: Path, kind: str, *rows: dict) -> None:
    (home / "traffic").mkdir(exist_ok=True)
    for row in rows:
        append(home / "traffic" / f"{kind}2020-01-01.jsonl", row)


def all_ids(home: Path, kind: str = REQUESTS) -> list[str]:
    return [row["id"] for part in parts(home / "traffic", kind) for row in records(part)]


def names(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "traffic").iterdir())


def test_full_parts_become_parquet_and_read_the_same(tmp_path):
    log = TrafficLog(tmp_path, SMALL)
    written = [record(str(at), text=noise(at), task=None if at % 2 else "route", ttft_ms=None) for at in range(120)]
    for row in written:
        log.request(row)
    log.feedback({"id": "3", "at": now(), "rating": "down", "correction": "tables"})
    log.close()
    found = parts(tmp_path / "traffic", REQUESTS)
    assert [part.table.exists() for part in found] == [True] * (len(found) - 1) + [False] and len(found) >= 4
    assert [part.log.exists() for part in found] == [False] * (len(found) - 1) + [True]
    assert [row for part in found for row in records(part)] == written
    frame = read_traffic(tmp_path).set_index("id")
    assert len(frame) == 120 and frame.loc["3", "correction"] == "tables" and frame.loc["3", "task"] is None
    assert reply_record(tmp_path, "3") == written[3] and log.known("3") and TrafficLog(tmp_path).known("3")
    assert reply_record(tmp_path, "none") is None
    assert [row["id"] for row in itertools.islice(latest_requests(tmp_path), 3)] == ["119", "118", "117"]
    assert pq.ParquetFile(found[0].table).metadata.row_group(0).column(0).compression == "ZSTD"
    assert found[0].table.stat().st_mode & 0o777 == 0o600, "texts of people"


def test_what_no_column_takes_is_kept(tmp_path):
    odd = [
        {"id": "a", "at": now(), "status": "200", "cached": 1, "new": {"x": [1]}, "prompt_tokens": 2**70},
        {"id": "b", "text": "half a pair \ud83d, umlaut ü", "latency_ms": 3},
    ]
    yesterday(tmp_path, REQUESTS, *odd)
    (part,) = parts(tmp_path / "traffic", REQUESTS)
    to_parquet(part)
    assert [{k: v for k, v in row.items() if v is not None} for row in records(part)] == odd


def test_the_state_stays_when_a_part_becomes_parquet(tmp_path):
    yesterday(tmp_path, REQUESTS, record("a"), record("b"))
    yesterday(tmp_path, FEEDBACK, {"id": "a", "at": now(), "rating": "up"})
    before = log_state(tmp_path)
    keep_log(tmp_path / "traffic", TrafficConfig(days=100_000))
    assert names(tmp_path) == ["2020-01-01.parquet", "feedback-2020-01-01.parquet"] and log_state(tmp_path) == before
    scrub(parts(tmp_path / "traffic", REQUESTS)[0], lambda row: row["id"] == "a")
    assert log_state(tmp_path) == before and all_ids(tmp_path) == ["b"]
    TrafficLog(tmp_path).request(record("c"))
    assert log_state(tmp_path) != before


def test_size_and_age_are_bounded_over_both(tmp_path):
    yesterday(tmp_path, REQUESTS, record("ancient"))
    log = TrafficLog(tmp_path, TrafficConfig(file_mb=1, total_mb=2, days=3))
    for at in range(400):
        log.request(record(str(at), text=noise(at)))
        if at % 40 == 0:
            log.request(record(f"p{at}"), probe=True)
    log.close()
    sizes = {path.name: path.stat().st_size for path in (tmp_path / "traffic").iterdir()}
    assert sum(sizes.values()) < 3.2 * 2**20 and any(name.endswith(".parquet") for name in sizes), sizes
    kept = all_ids(tmp_path)
    assert "ancient" not in kept and 40 < len(kept) < 200
    assert kept == [str(at) for at in range(400 - len(kept), 400)], "the latest are kept, in order"
    assert len(all_ids(tmp_path, PROBES)) == 10, "a part that is being written stays"


def test_bounds_are_kept_while_nothing_is_asked(tmp_path):
    """From the start, and also for what becomes too old meanwhile."""
    yesterday(tmp_path, REQUESTS, record("ancient"))
    log = TrafficLog(tmp_path, TrafficConfig(days=3))
    log.keep(seconds=0.01)
    until(lambda: not names(tmp_path), "what was there is gone")
    yesterday(tmp_path, FEEDBACK, {"id": "ancient", "at": now(), "rating": "up"})
    until(lambda: not names(tmp_path), "what has become old is gone")
    log.close()
    yesterday(tmp_path, REQUESTS, record("later"))
    assert all_ids(tmp_path) == ["later"], "closed, it does no more"


def test_a_server_keeps_them_from_its_start(endpoint):
    endpoint.home.mkdir()
    yesterday(endpoint.home, REQUESTS, record("ancient"))
    endpoint.start()
    until(lambda: not names(endpoint.home), "what was there is gone")


WRITER = """
import sys, itertools
from pathlib import Path
sys.path.insert(0, "tests/serving")
from test_traffic_parts import SMALL, noise, record
from llm_assets.serving.traffic import TrafficLog
log = TrafficLog(Path(sys.argv[1]), SMALL)
for at in itertools.count():
    log.request(record(f"{sys.argv[2]}-{at}", text=noise(at)))
    print(f"{sys.argv[2]}-{at}", flush=True)
    if sys.argv[3:] and at % 60 == 59:
        sys.stdin.readline()
"""


def start_writer(home: Path, name: str, *paced: str) -> subprocess.Popen[str]:
    """A process that writes as fast as it can, or in sixties, each on a line of its stdin, and says what it wrote."""
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(home), name, *paced], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip


def test_a_kill_loses_and_doubles_nothing(tmp_path):
    chance, acknowledged, half_way = random.Random(7), [], Counter()
    for life in range(12):
        writer = start_writer(tmp_path, f"life{life}")
        assert writer.stdout
        acknowledged += [writer.stdout.readline().strip() for _ in range(chance.randint(40, 400))]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().split()[:-1]  # the last line may be torn
        writer.wait()
        kinds = {path.suffix for path in (tmp_path / "traffic").iterdir()}
        waiting = [part for part in parts(tmp_path / "traffic", REQUESTS)[:-1] if part.log.exists()]
        half_way.update({"partial": ".partial" in kinds, "closed but not Parquet": bool(waiting)})
        found = Counter(all_ids(tmp_path))
        assert max(found.values()) == 1 and found.keys() >= set(acknowledged)
        assert len(found) - len(acknowledged) <= 2 * (life + 1), "written, and killed before it was said"
    assert half_way["closed but not Parquet"], "no kill hit a conversion: the test shows nothing"
    keep_log(tmp_path / "traffic", SMALL)
    assert Counter(all_ids(tmp_path)) == found
    assert sum(name.endswith(".jsonl") for name in names(tmp_path)) == 1 and not list(tmp_path.rglob("*.partial"))


def test_a_kill_between_the_table_and_the_removal_of_the_lines(tmp_path):
    yesterday(tmp_path, REQUESTS, record("a"), record("b"))
    (part,) = parts(tmp_path / "traffic", REQUESTS)
    lines = part.log.read_bytes()
    to_parquet(part)
    part.log.write_bytes(lines)  # as it is when the process dies right after the table appeared
    assert all_ids(tmp_path) == ["a", "b"] and reply_record(tmp_path, "b")
    assert scrub(part, lambda row: row["id"] == "a") == {"a"}
    assert all_ids(tmp_path) == ["b"] and b'"a"' not in part.log.read_bytes()
    assert not append(part.log, record("late"), part.table.exists), "a closed part takes no more"
    to_parquet(part)
    assert names(tmp_path) == ["2020-01-01.parquet"] and all_ids(tmp_path) == ["b"]


def test_writers_readers_and_an_erasure_at_once(tmp_path):
    writers = [start_writer(tmp_path, name, "paced") for name in ("a", "b")]
    said: dict[str, int] = {"a": 0, "b": 0}
    removed: set[str] = set()
    try:
        for turn in range(8):
            for name, writer in zip(said, writers, strict=True):
                assert writer.stdin and writer.stdout
                writer.stdin.write("\n")  # the next sixty are written while these are read
                writer.stdin.flush()
                said[name] = [int(writer.stdout.readline().strip().partition("-")[2]) for _ in range(60)][-1]
            found = Counter(all_ids(tmp_path))
            wanted = {f"{name}-{at}" for name, last in said.items() for at in range(last + 1)} - removed
            assert max(found.values()) == 1 and found.keys() >= wanted
            for part in parts(tmp_path / "traffic", REQUESTS):
                removed |= scrub(part, lambda row, turn=turn: row["id"].endswith(str(turn)))
            assert not removed & set(all_ids(tmp_path)) and len(removed) > turn
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_fails_feedback_and_not_the_reply(tmp_path, caplog):
    log = TrafficLog(tmp_path)
    log.request(record("a"))
    log.feedback({"id": "a", "at": now(), "rating": "up", "correction": None})
    log.close()
    for part in (parts(tmp_path / "traffic", kind)[0] for kind in (REQUESTS, FEEDBACK)):
        part.log.unlink()
        part.log.symlink_to("/dev/full")
    log.request(record("b"))
    assert "not in the traffic log" in caplog.text
    with pytest.raises(OSError, match="No space left"):
        log.feedback({"id": "a", "at": now(), "rating": "down", "correction": None})
