"""Tables in files of every format."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from histories import ALL

from llm_assets.data.openrefine.apply import apply_history
from llm_assets.data.openrefine.files import read_tables, write_tables
from llm_assets.data.openrefine.table import concatenate, table_of
from llm_assets.data.openrefine.values import EvalError, Value
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


SMILE = "\U0001f600"


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_half_of_a_pair_is_written_as_java_writes_it(suffix: str, tmp_path: Path) -> None:
    """A question mark for each half; two that meet are a character."""
    cells: list[Value] = [
        "\ud83d",
        "a\ude00b\ud83d",
        "\ud83d\ude00",
        EvalError("no \ud83d"),
        "\ude00\ud83d",
        SMILE,
        None,
    ]
    path = tmp_path / f"t.{suffix}"
    assert write_tables([table_of({"n": list("1234567"), "\ud83d": cells, "?": ["x"] * 7})], path) == 7
    back = concatenate(list(read_tables(path))).columns
    assert list(back) == ["n", "?_", "?"]
    assert back["?_"] == ["?", "a?b?", SMILE, "no ?", "??", SMILE, None]


def test_a_history_that_cuts_a_pair_is_replayed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"a,b\n{SMILE}x,1\ny,2\n")
    made = {"op": "core/column-addition", "engineConfig": ALL, "baseColumnName": "a", "columnInsertIndex": 1}
    history = [
        made | {"newColumnName": "half", "expression": "value.substring(0, 1)"},
        made | {"newColumnName": "again", "expression": "cells['half'].value + value.substring(1, 2)"},
        made | {"newColumnName": "same", "expression": f"cells['again'].value == '{SMILE}'"},
    ]
    (tmp_path / "h.json").write_text(json.dumps(history))
    apply_history(tmp_path / "h.json", tmp_path / "t.csv")
    assert (
        tmp_path / "t-refined.csv"
    ).read_text() == f"a,same,again,half,b\n{SMILE}x,true,{SMILE},?,1\ny,false,y,y,2\n"
    history = [
        {"op": "core/multivalued-cell-split", "columnName": "a", "keyColumnName": "b", "mode": "lengths"}
        | {"fieldLengths": [1, 2]},
        {"op": "core/multivalued-cell-join", "columnName": "a", "keyColumnName": "b", "separator": ""},
    ]
    for some, expected in ((history, f"a,b\n{SMILE}x,1\ny,2\n"), (history[:1], "a,b\n?,1\n?x,\ny,2\n,\n")):
        (tmp_path / "h.json").write_text(json.dumps(some))
        apply_history(tmp_path / "h.json", tmp_path / "t.csv")
        assert (tmp_path / "t-refined.csv").read_text() == expected
