"""What holds of every source: nothing is lost, equal rows are equal bytes, memory is bounded, a kill costs nothing."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from web_site import Site

from llm_assets.artifacts import document_schema, read_table
from llm_assets.data.acquire import acquire_documents, stream_sources
from llm_assets.data.config import Files
from llm_assets.data.rows import RepeatedIds, TableWriter
from llm_assets.data.sources.found import Found, batches, parse_date
from llm_assets.data.sources.read import Count, read_source

ONCE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
anything = st.one_of(st.none(), st.integers(), st.text(max_size=8), st.lists(st.integers(), max_size=2), st.booleans())


def rows(found: list[Found], **origin: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    parts = list(batches(found, source="s", licence="l", **origin))
    return (
        [row for part in parts for row in part.documents.to_pylist()],
        [row for part in parts for row in part.rejected.to_pylist()],
    )


@ONCE
@given(st.lists(st.tuples(st.text(max_size=9), anything, anything), max_size=30))
def test_each_thing_found_is_a_document_or_a_reject(found: list[tuple[str, Any, Any]]) -> None:
    documents, rejected = rows([Found(uri, text, label) for uri, text, label in found])
    assert len(documents) + len(rejected) == len(found)
    assert all(row["reason"] and row["detail"] for row in rejected)
    assert all(len(row["content_hash"]) == 16 and row["licence"] == "l" for row in documents + rejected)


@ONCE
@given(st.lists(texts, min_size=1, max_size=20))
def test_tables_give_back_the_texts_that_were_written(tmp_path: Path, values: list[str]) -> None:
    plain = [value.replace("\r\n", "\n").replace("\r", "\n") for value in values]
    (tmp_path / "a.jsonl").write_bytes("".join(json.dumps({"text": v}) + "\n" for v in plain).encode())
    (tmp_path / "a.json").write_text(json.dumps([{"text": v} for v in plain]), encoding="utf-8")
    sink = io.StringIO(newline="")
    csv.writer(sink).writerows([["text", "n"], *([v, n] for n, v in enumerate(plain))])
    (tmp_path / "a.csv").write_bytes(sink.getvalue().encode())
    for name in ("a.jsonl", "a.json", "a.csv"):
        source = Files(paths=[str(tmp_path / name)])
        found = [t for batch in read_source(source, tmp_path) for t in batch.documents["text"].to_pylist()]
        assert found == plain, name


@ONCE
@given(st.binary(max_size=300), st.sampled_from(["a.jsonl", "a.csv", "a.txt"]))
def test_no_bytes_are_too_strange(tmp_path: Path, data: bytes, name: str) -> None:
    from llm_assets.errors import UserError

    (tmp_path / name).write_bytes(b'{"text": "a"}\n' * 3 + data if name == "a.jsonl" else b"text\na\n" + data)
    count = Count("files")
    try:
        for _ in read_source(Files(paths=[str(tmp_path / name)], max_rejected_share=1), tmp_path, count=count):
            pass
        assert count.documents >= 1
    except UserError as error:
        assert name in str(error)


@ONCE
@given(st.lists(st.integers(0, 12), max_size=40), st.integers(1, 9))
def test_ids_are_unique_however_rows_are_batched(uris: list[int], size: int) -> None:
    found = [Found(f"u{n}", f"text {place}") for place, n in enumerate(uris)]

    def mended(step: int) -> list[dict[str, Any]]:
        repeated = RepeatedIds()
        parts = [list(batches(found[n : n + step], source="s", licence="l")) for n in range(0, len(found), step)]
        return [row for (part,) in parts for row in repeated.mend(part.documents).to_pylist()]

    made = mended(size)
    assert len({row["id"] for row in made}) == len(uris)
    assert made == mended(len(uris) or 1)
    assert [row["uri"].partition("~")[0] for row in made] == [f"u{n}" for n in uris]


def test_equal_rows_are_equal_bytes_however_they_are_batched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TableWriter, "ROWS", 700)
    monkeypatch.setattr(TableWriter, "BYTES", 20_000)
    found = [Found(f"u{n}", "word " * (n % 37)) for n in range(5000)]
    (whole,) = batches(found, source="s", licence="l")
    made = []
    for size in (1, 313, 5000):
        with TableWriter(tmp_path / f"{size}.parquet", document_schema()) as writer:
            for start in range(0, 5000, size):
                writer.write(whole.documents.slice(start, size))
        made.append((tmp_path / f"{size}.parquet").read_bytes())
    assert made[0] == made[1] == made[2]
    assert read_table(tmp_path / "1.parquet").equals(pa.Table.from_batches([whole.documents]))
    with pytest.raises(RuntimeError), TableWriter(tmp_path / "x.parquet", document_schema()) as writer:
        raise RuntimeError
    assert not list(tmp_path.glob("x*"))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("2024-05-17", "2024-05-17T00:00:00+00:00"),
        ("2024-05-17T10:00:00+02:00", "2024-05-17T08:00:00+00:00"),
        (86400, "1970-01-02T00:00:00+00:00"),
        ("", None),
        (None, None),
        ("yesterday", ValueError),
        (True, ValueError),
        (1e30, ValueError),
        ("0001-01-01T00:00:00+14:00", ValueError),
        ([], ValueError),
    ],
)
def test_dates(value: Any, found: Any) -> None:
    if found is ValueError:
        with pytest.raises(ValueError):
            parse_date(value)
    else:
        date = parse_date(value)
        assert (date and date.isoformat()) == found


def test_two_acquisitions_are_equal_bytes_and_their_time_is_in_the_summary(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,day\nsome text,2024-05-17\nmore text,\n")
    source = Files(paths=[str(tmp_path / "a.csv")], date_column="day")
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        summary = acquire_documents([source], tmp_path, tmp_path / name)
        assert str(summary.metrics["acquired_at"]).endswith("+00:00")
        made.append([path.read_bytes() for path in sorted((tmp_path / name).iterdir())])
    assert made[0] == made[1]
    assert read_table(tmp_path / "one" / "documents.parquet")["fetched_at"].null_count == 1


def test_a_file_larger_than_what_is_held_is_streamed(tmp_path: Path) -> None:
    """300 MB of lines that take no more memory than 40 MB of them."""
    line = json.dumps({"text": "some words to read " * 50}).encode() + b"\n"
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from llm_assets.data.acquire import acquire_documents
        from llm_assets.data.config import Files
        folder = Path(sys.argv[1])
        acquire_documents([Files(paths=[sys.argv[2]])], folder, folder)
        # VmHWM and not ru_maxrss, which counts the memory of the process that started this one too.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print(int(status["VmHWM"].split()[0]) // 1024)
    """)
    peaks = []
    for megabytes in (100, 300):
        with (tmp_path / "big.jsonl").open("wb") as stream:
            for _ in range(megabytes):
                stream.write(line * (10**6 // len(line)))
        command = [sys.executable, "-c", code, str(tmp_path), str(tmp_path / "big.jsonl")]
        peaks.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert peaks[1] < peaks[0] + 60
    assert peaks[1] < 700


def test_a_killed_crawl_goes_on_where_it_was(site: Site, articles: dict[str, bytes], tmp_path: Path) -> None:
    for name, body in articles.items():
        site.versioned(f"/{name}", body)
    seeds = [f"http://127.0.0.1:{site.port}/{name}" for name in articles]
    settings = {"seeds": seeds, "allow_hosts": ["127.0.0.1"], "max_depth": 0, "delay_seconds": 0.2}
    code = textwrap.dedent("""
        import json, sys
        from pathlib import Path
        from llm_assets.data.acquire import acquire_documents
        from llm_assets.data.config import Web
        folder = Path(sys.argv[1])
        (folder / "out").mkdir(exist_ok=True)
        acquire_documents([Web(**json.loads(sys.argv[2]), warc=True)], folder, folder / "out")
    """)
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(settings)]
    process = subprocess.Popen(command, env=os.environ)
    for _ in range(600):
        if len({path for path, status in site.log if status == 200}) >= 3:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not list((tmp_path / "out").glob("documents.parquet"))
    before = {path for path, status in site.log if status == 200}
    site.log.clear()
    subprocess.run(command, check=True, timeout=120)
    assert sum(status == 304 for _, status in site.log) >= len(before) - 1, "at most the page under way is sent again"
    assert read_table(tmp_path / "out" / "documents.parquet").num_rows == len(articles)
    assert not list((tmp_path / "out").glob("*.partial"))


def test_what_is_streamed_is_there_before_the_source_ends(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 50_000)
    stream = stream_sources([Files(paths=[str(tmp_path / "a.jsonl")])], tmp_path)
    assert next(stream).documents.num_rows == 5000
    stream.close()
