"""Sources: what they read, and what they say when they cannot."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from llm_assets.data.acquire import acquire_documents, read_sources
from llm_assets.data.config import DataConfig, Feedback, Files, InstalledPackages
from llm_assets.data.sources.state import sources_state
from llm_assets.errors import UserError


def files(path: Path | str, **kwargs: object) -> Files:
    return Files.model_validate({"paths": [str(path)], **kwargs})


def test_docstrings_of_installed_packages_have_provenance(tmp_path: Path) -> None:
    source = InstalledPackages(packages=["typer", "stdlib"], max_per_package=40)
    summary = acquire_documents([source], tmp_path, tmp_path)
    rows = pq.read_table(tmp_path / "documents.parquet").to_pylist()
    assert summary.metrics["rows"] == len(rows) == 80
    assert len({row["id"] for row in rows}) == len(rows)
    assert {row["label"] for row in rows} == {"typer", "stdlib"}
    assert all(row["uri"].startswith(f"python://{row['label']}/") for row in rows)
    assert all(row["licence"] not in (None, "", "unknown") for row in rows)


def test_docstrings_are_read_alike_every_time_and_without_import(tmp_path: Path) -> None:
    source = InstalledPackages(packages=["typer"], max_per_package=30)
    assert read_sources([source], tmp_path).equals(read_sources([source], tmp_path))


@pytest.mark.parametrize(
    ("package", "said"), [("no_such_package", "not installed"), ("six_but_dotted.core", "not installed")]
)
def test_missing_package_is_named(package: str, said: str, tmp_path: Path) -> None:
    source = InstalledPackages(packages=[package])
    with pytest.raises(UserError, match=package) as error:
        read_sources([source], tmp_path)
    assert said in str(error.value)
    with pytest.raises(UserError, match=package):
        sources_state([source], tmp_path)


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [{"t": "first, with comma", "l": "a"}, {"t": "zweite ü", "l": "b"}]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "x.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "y.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    (tmp_path / "z.csv").write_text('t,l\n"first, with comma",a\nzweite ü,b\n', encoding="utf-8")
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "p.parquet")
    (tmp_path / "t.txt").write_text("first, with comma\n\nzweite ü\n", encoding="utf-8")
    for name in ("x.jsonl", "y.jsonl.gz", "z.csv", "p.parquet"):
        table = read_sources([files(tmp_path / name, text_column="t", label_column="l")], tmp_path)
        assert table["text"].to_pylist() == [row["t"] for row in rows], name
        assert table["label"].to_pylist() == ["a", "b"], name
    text = read_sources([files(tmp_path / "t.txt")], tmp_path)
    assert text["text"].to_pylist() == [row["t"] for row in rows]
    assert text["label"].null_count == 2


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("bad.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
        ("list.jsonl", b"[1, 2]\n", "must be a JSON object"),
        ("other.jsonl", b'{"body": "a"}\n', "no column 'text'; it has body"),
        ("empty.jsonl", b"", "holds no rows"),
        ("head.csv", b"text\n", "holds no rows"),
        ("ragged.csv", b"text,label\na,b\nc,d,e\n", "line 3: 3 fields where there are 2 columns"),
        ("open.csv", b'text,label\n"a,b\n', "not CSV"),
        ("column.csv", b"body,label\na,b\n", "no column 'text'"),
        ("broken.jsonl.gz", gzip.compress(b'{"text": "a"}\n' * 500, mtime=0)[:-20], "broken gzip"),
        ("not.jsonl.gz", b"plain", "broken gzip"),
        ("bad.parquet", b"PAR1nonsense", "not a readable Parquet file"),
        ("latin.txt", "naïve".encode("latin-1"), "not UTF-8"),
        ("table.xlsx", b"x", "unknown format"),
    ],
)
def test_corrupt_file_is_named(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        read_sources([files(tmp_path / name)], tmp_path)
    assert name in str(error.value)
    assert said in str(error.value)


def test_tables_without_a_header_and_without_quotes(real_data: Path, tmp_path: Path) -> None:
    sms = files(real_data / "sms_spam" / "sms.tsv", columns=["kind", "text"], label_column="kind")
    table = read_sources([sms], tmp_path)
    assert table.num_rows == 5574
    assert table["label"].to_pylist().count("spam") == 747
    news = files(real_data / "ag_news" / "test.csv", columns=["topic", "title", "text"], label_column="topic")
    table = read_sources([news], tmp_path)
    assert table.num_rows == 7600
    assert sorted(set(table["label"].to_pylist())) == ["1", "2", "3", "4"]


def test_pattern_that_matches_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no file matches .*\*\.csv"):
        read_sources([files(tmp_path / "*.csv")], tmp_path)


def test_feedback_may_be_absent_and_enters_the_state(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("some text that is here\n")
    data = DataConfig(sources=[files(tmp_path / "a.txt"), Feedback()])
    assert read_sources(data.sources, tmp_path).num_rows == 1
    before = sources_state(data.sources, tmp_path)
    accepted = tmp_path / "feedback" / "accepted.jsonl"
    accepted.parent.mkdir()
    accepted.write_text(
        json.dumps({"id": "f1", "text": "a graph of nodes", "label": "new_label", "uri": "chat:1"}) + "\n"
    )
    rows = read_sources(data.sources, tmp_path).to_pylist()
    assert (rows[1]["id"], rows[1]["label"], rows[1]["source"]) == ("f1", "new_label", "feedback")
    assert sources_state(data.sources, tmp_path) != before
    accepted.write_text("{nonsense\n")
    with pytest.raises(UserError, match=r"accepted\.jsonl, line 1"):
        read_sources(data.sources, tmp_path)


def test_no_documents_at_all(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no documents"):
        read_sources([Feedback()], tmp_path)
