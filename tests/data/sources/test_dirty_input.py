"""Dirty input, kind by kind: each ends in rejected rows with reasons or in an error that names file and problem.

Every file is a real one. Nothing crashes, hangs, or takes memory that grows with the dirt.
"""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_assets.artifacts import DOCUMENTS, REJECTED, read_table
from llm_assets.data.acquire import acquire_documents
from llm_assets.data.config import Files
from llm_assets.errors import UserError

GOOD = [f"a good line, number {n}" for n in range(100)]
JSONL = "".join(json.dumps({"text": text}) + "\n" for text in GOOD).encode()
CSV = ("text,label,day\n" + "".join(f'"{text}",a,2024-05-17\n' for text in GOOD)).encode()
UMLAUTS = "Die Tür öffnet sich früh, und Jürgen grüßt höflich über die Brücke.\n"


def acquire(path: Path, **settings: object) -> tuple[list[str], list[dict[str, str]]]:
    """(texts, rejects) of one file."""
    out = path.parent / "out"
    out.mkdir(exist_ok=True)
    source = Files.model_validate({"paths": [str(path)], "max_row_bytes": 2**20, **settings})
    summary = acquire_documents([source], path.parent, out)
    documents, rejected = read_table(out / DOCUMENTS), read_table(out / REJECTED)
    assert (summary.metrics["rows"], summary.metrics["rejected"]) == (documents.num_rows, rejected.num_rows)
    assert set(documents["id"].to_pylist()).isdisjoint(rejected["id"].to_pylist())
    return documents["text"].to_pylist(), rejected.select(["reason", "detail", "uri", "text"]).to_pylist()


def deep_json() -> bytes:
    return b'{"text": "x", "more": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n"


def with_dates() -> bytes:
    return CSV.replace(b"2024-05-17", b"17th of May", 1).replace(b"2024-05-17", b"2024-13-45", 1)


REJECTED_ROWS: list[tuple[str, str, bytes, dict[str, object], list[str], str]] = [
    # kind, file, content, settings, reasons, part of the first detail
    ("ragged CSV", "a.csv", CSV + b"one,two\n", {}, ["ragged"], "line 102: 2 fields where there are 3 columns"),
    ("open quote in CSV", "a.csv", b'text,label,day\n"never closed,a,b\n' + CSV[15:], {}, ["csv"], "line 2: not CSV"),
    ("quote in the middle", "a.csv", CSV + b'"a" b,c,d\n', {}, ["csv"], "line 102: not CSV"),
    ("NUL in CSV", "a.csv", CSV + b"a\0b,c,d\n", {}, ["nul"], "line 102: a NUL at byte 1"),
    ("NUL in text", "a.txt", "\n".join(GOOD).encode() + b"\na\0b\n", {}, ["nul"], "a NUL at byte 1"),
    ("bad JSON line", "a.jsonl", JSONL + b'{"text": \n', {}, ["json"], "line 101: not JSON (Expecting value)"),
    ("bytes after JSON", "a.jsonl", JSONL + b'{"text": "a"} x\n', {}, ["json"], "line 101: not JSON (Extra data)"),
    ("JSON of another kind", "a.jsonl", JSONL + b"[1, 2]\n", {}, ["json"], "line 101: must be a JSON object"),
    ("deep JSON", "a.jsonl", JSONL + deep_json(), {}, ["json"], "line 101: nested too deeply"),
    ("duplicate keys", "a.jsonl", JSONL + b'{"text": "a", "text": "b"}\n', {}, ["json"], "key 'text' is there twice"),
    ("missing column", "a.jsonl", JSONL + b'{"body": "a"}\n', {}, ["column"], "line 101: no column 'text'"),
    ("mixed types", "a.jsonl", JSONL + b'{"text": 5}\n{"text": ["a"]}\n', {}, ["type", "type"], "of type int"),
    ("half a character", "a.jsonl", JSONL + b'{"text": "\\ud83d"}\n', {}, ["unicode"], "surrogate"),
    ("wrong encoding of a line", "a.jsonl", JSONL + b'{"text": "na\xefve"}\n', {}, ["encoding"], "line 101: not UTF-8"),
    ("wrong encoding in CSV", "a.csv", CSV + b"na\xefve,a,b\n", {}, ["encoding"], "line 102: not UTF-8"),
    ("number of 5000 digits", "a.jsonl", JSONL + b'{"text": "a", "n": ' + b"9" * 5000 + b"}\n", {}, ["json"], "digits"),
    ("long line", "a.jsonl", JSONL + b'{"text": "' + b"x" * 2**21 + b'"}\n', {}, ["too_large"], "line 101: longer"),
    ("long line of text", "a.txt", "\n".join(GOOD).encode() + b"\n" + b"x" * 2**21, {}, ["too_large"], "line 101"),
    ("long field of CSV", "a.csv", CSV + b'"' + b"x" * 2**21 + b'",a,b\n', {}, ["too_large"], "line 102: longer"),
    ("bad dates", "a.csv", with_dates(), {"date_column": "day"}, ["date", "date"], "day: Invalid isoformat string"),
    ("bad UTF-16", "a.txt", "\n".join(GOOD).encode("utf-16") + b"\n\0\x00\xd8a\0", {}, ["encoding"], "not UTF-8"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "settings", "reasons", "said"),
    [case[1:] for case in REJECTED_ROWS],
    ids=[case[0] for case in REJECTED_ROWS],
)
def test_a_dirty_row_is_rejected_and_the_others_stay(
    name: str, content: bytes, settings: dict[str, object], reasons: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    texts, rejects = acquire(tmp_path / name, **settings)
    assert [reject["reason"] for reject in rejects] == reasons
    assert said in rejects[0]["detail"]
    assert texts == [text for text in GOOD if text in texts]
    assert len(texts) == 100 - (len(reasons) if "date" in reasons else 0)
    assert all(reject["uri"].startswith("file://") and len(reject["text"]) <= 500 for reject in rejects)
    with pytest.raises(UserError, match=name):
        acquire(tmp_path / name, on_bad_rows="fail", **settings)


def bomb(path: Path) -> None:
    with gzip.open(path, "wb") as stream:
        for _ in range(32):
            stream.write(b"\0" * 2**20)


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def random_bytes(count: int) -> bytes:
    import random

    return random.Random(7).randbytes(count)


WHOLE_FILES: list[tuple[str, str, bytes | Callable[[Path], None], str]] = [
    ("empty file", "a.jsonl", b"", "holds no rows"),
    ("header alone", "a.csv", b"text\n", "holds no rows"),
    ("empty page", "a.html", b"", "holds no page"),
    ("page without text", "a.html", b"<html><body><img src=a></body></html>", "no main text"),
    ("truncated gzip", "a.jsonl.gz", gzip.compress(JSONL)[:-20], "broken gzip"),
    ("damaged gzip", "a.jsonl.gz", gzip.compress(random_bytes(9000))[:4000] + b"?" * 5000, "broken gzip"),
    ("no gzip at all", "a.jsonl.gz", b"plain", "broken gzip"),
    ("truncated bzip2", "a.jsonl.bz2", bz2.compress(JSONL)[:-20], "broken bzip2"),
    ("no bzip2 at all", "a.jsonl.bz2", b"plain text", "broken bzip2"),
    ("truncated xz", "a.jsonl.xz", lzma.compress(JSONL)[:-20], "broken xz"),
    ("truncated zstd", "a.jsonl.zst", zstd(random_bytes(90_000))[:-20], "broken zstandard"),
    ("no zstd at all", "a.jsonl.zst", b"plain text", "broken zstandard"),
    ("gzip bomb", "a.txt.gz", bomb, "decompression bomb"),
    ("nested JSON file", "a.json", b"[" * 100_000, "nested too deeply"),
    ("cut JSON file", "a.json", json.dumps([{"text": text} for text in GOOD]).encode()[:-9], "not JSON"),
    ("twice a key in JSON", "a.json", b'[{"text": "a", "text": "b"}]', "'text' is there twice"),
    ("no Parquet", "a.parquet", b"PAR1nonsense", "not a readable Parquet file"),
    ("no WARC", "a.warc", b"nothing of the kind\r\n\r\n" * 9, "not a readable WARC file"),
    ("unknown format", "a.xlsx", b"x", "unknown format"),
    ("short Latin-1", "a.txt", "naïve".encode("latin-1"), "set `encoding`"),
    ("binary file", "a.txt", random_bytes(5000), "set `encoding`"),
    ("column twice", "a.csv", b"text,text\na,b\n", "there twice"),
    ("all rows bad", "a.jsonl", b'{"body": "a"}\n' * 9, "none of 9 rows can be used (column 9)"),
    ("too many bad rows", "a.jsonl", JSONL + b"{\n" * 50, "50 of 150 rows cannot be used (json 50)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content", "said"), [case[1:] for case in WHOLE_FILES], ids=[case[0] for case in WHOLE_FILES]
)
def test_a_file_of_no_use_is_named(
    name: str, content: bytes | Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    if callable(content):
        content(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        acquire(tmp_path / name)
    assert name in str(error.value)
    assert said in str(error.value)
    assert not list((tmp_path / "out").glob("*")), "nothing half-written"


def test_a_nul_that_is_written_as_such_is_left_to_cleaning(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "a\\u0000b"}\n')
    assert acquire(tmp_path / "a.jsonl") == (["a\0b"], [])


def test_an_empty_file_among_others_is_a_reject(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(JSONL)
    (tmp_path / "b.jsonl").write_bytes(b"")
    texts, rejects = acquire(tmp_path / "*.jsonl")
    assert texts == GOOD
    assert [(reject["reason"], reject["uri"][-7:]) for reject in rejects] == [("empty_file", "b.jsonl")]


def test_links_that_lead_back_are_followed_once(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("\n".join(GOOD))
    (tmp_path / "data" / "self.txt").symlink_to(tmp_path / "data" / "self.txt")
    for name in "pqrstuvw":  # a walk that followed them all would find 8^40 files
        (folder / name).symlink_to(tmp_path / "data")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("one more good line\n")
    (folder / "z").symlink_to(outside)
    out = tmp_path / "out"
    out.mkdir()
    summary = acquire_documents([Files(paths=[f"{tmp_path}/data/**/*.txt"])], tmp_path, out)
    assert summary.metrics["rows"] == 101
    with pytest.raises(UserError, match=r"no file matches .*self\.txt"):
        acquire(tmp_path / "data" / "self.txt")
    with pytest.raises(UserError, match="is a folder"):
        acquire(folder)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.txt"])
def test_other_encodings_are_read(name: str, encoding: str, tmp_path: Path) -> None:
    text = UMLAUTS.strip()
    row = json.dumps({"text": text}, ensure_ascii=False)
    whole = {
        "a.csv": "text\n" + f'"{text}"\n' * 20,
        "a.jsonl": f"{row}\n" * 20,
        "a.json": f"[{', '.join([row] * 20)}]",
        "a.txt": UMLAUTS * 20,
    }
    (tmp_path / name).write_bytes(whole[name].encode(encoding))
    if encoding == "cp1252":
        with pytest.raises(UserError, match=f"{name}: not UTF-8 .*set `encoding`"):
            acquire(tmp_path / name)
    texts, rejects = acquire(tmp_path / name, encoding="cp1252" if encoding == "cp1252" else "auto")
    assert (texts, rejects) == ([text] * 20, [])


def test_an_encoding_that_is_named_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("naïve".encode("latin-1"))
    assert acquire(tmp_path / "a.txt", encoding="latin-1") == (["naïve"], [])
    with pytest.raises(ValueError, match="no encoding of that name"):
        Files(paths=["a.txt"], encoding="klingon")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, zstd])
def test_packed_files_of_several_members_are_read_whole(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    suffix = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz", zstd: "zst"}[pack]
    path = tmp_path / f"a.jsonl.{suffix}"
    path.write_bytes(pack(JSONL) + pack(JSONL))
    assert acquire(path) == (GOOD * 2, [])


def test_pathological_files_take_little_memory_and_end(tmp_path: Path) -> None:
    """A line of 100 MB, a zstd bomb, quotes that never close, a page of 200,000 nested tags: under 600 MB in all."""
    with (tmp_path / "line.jsonl").open("wb") as stream:
        stream.write(JSONL)
        stream.write(b'{"text": "')
        for _ in range(100):
            stream.write(b"x" * 1_000_000)
        stream.write(b'"}\n')
    (tmp_path / "bomb.txt.zst").write_bytes(zstd(b"x" * (3 * 10**7)))
    (tmp_path / "quotes.csv").write_bytes(CSV + b'"x"",a\n' * 100_000)
    (tmp_path / "nested.html").write_bytes(b"<div>" * 200_000 + b"text")
    pq.write_table(pa.table({"text": ["x" * 3_000_000, *GOOD]}), tmp_path / "long.parquet")
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from llm_assets.data.acquire import acquire_documents
        from llm_assets.data.config import Files
        from llm_assets.errors import UserError
        folder = Path(sys.argv[1])
        for name in ("line.jsonl", "bomb.txt.zst", "quotes.csv", "nested.html", "long.parquet"):
            try:
                source = Files(paths=[str(folder / name)], max_row_bytes=2**20)
                summary = acquire_documents([source], folder, folder)
                print(name, summary.metrics["rows"], summary.metrics["rejected"])
            except UserError as error:
                print(name, str(error).replace(str(folder), ""))
        # VmHWM and not ru_maxrss, which counts the memory of the process that started this one too.
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        print("MiB", int(status["VmHWM"].split()[0]) // 1024)
    """)
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert said["line.jsonl"] == "100 1"
    assert "decompression bomb" in said["bomb.txt.zst"]
    assert "cannot be used (csv" in said["quotes.csv"]
    assert "none of 1 rows" in said["nested.html"]
    assert said["long.parquet"] == "100 1"
    assert int(said["MiB"]) < 600
