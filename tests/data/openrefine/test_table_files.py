"""Tables in files of every format."""

from __future__ import annotations

import random

import pytest

from llm_assets.data.openrefine.files import read_tables, write_tables
from llm_assets.data.openrefine.table import concatenate, table_of
from llm_assets.errors import UserError


def test_files_of_every_format_keep_their_cells(tmp_path):
    drawn = random.Random(3)
    pool = ["plain", 'comma, quote " and\nline', None, "tab\there", "é 😀"]
    columns = {
        "a": [drawn.choice(pool) for _ in range(50)],
        "b": list(range(50)),
        "c": [0.5, None] * 25,
        "d": [True, None] * 25,
    }
    for suffix in ("csv", "tsv", "jsonl", "parquet"):
        path = tmp_path / f"t.{suffix}"
        assert write_tables([table_of(columns)], path) == 50
        back = concatenate(list(read_tables(path, part=7))).columns
        if suffix in ("jsonl", "parquet"):
            assert back == columns
        else:
            assert back["a"] == columns["a"] and back["b"] == [str(n) for n in range(50)] and back["d"][0] == "true"


def test_bad_tables_are_named(tmp_path):
    for name, content, message in [
        ("a.csv", b"", "empty"),
        ("b.csv", b"x,y\n1,2,3\n", "line 2: 3 fields"),
        ("c.csv", b"x\n\xff\n", "UTF-8"),
        ("d.jsonl", b"{}\n[1]\n", "line 2"),
        ("e.parquet", b"no", "Parquet"),
        ("f.xls", b"", "unknown format"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UserError, match=message):
            list(read_tables(tmp_path / name))
    (tmp_path / "short.csv").write_bytes(b"\xef\xbb\xbfx,x,\n1\n")
    assert concatenate(list(read_tables(tmp_path / "short.csv"))).columns == {
        "x": ["1"],
        "x2": [None],
        "Column": [None],
    }
