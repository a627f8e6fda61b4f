"""Histories: gold replays, each operation, facets and records, refusals, files, and the step of `clean`."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from llm_assets.cli import app
from llm_assets.data.clean import clean_state, clean_table
from llm_assets.data.config import CleanConfig, NearDuplicateConfig
from llm_assets.data.openrefine.apply import apply_history
from llm_assets.data.openrefine.files import read_tables, write_tables
from llm_assets.data.openrefine.history import prepare, replay
from llm_assets.data.openrefine.operation import OPERATIONS
from llm_assets.data.openrefine.table import concatenate, records, table_of
from llm_assets.data.rows import documents_table, text_hash
from llm_assets.errors import UserError

SHARED = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or Path(__file__).parents[4] / "shared" / "data")
ALL = {"mode": "row-based", "facets": []}


def shared(name: str) -> Path:
    path = SHARED / "openrefine" / name
    if not path.exists():
        pytest.skip(f"openrefine/{name} is not in {SHARED}; set LLM_ASSETS_TEST_DATA")
    return path


def done(operations, columns, part: int | None = None):
    """The columns after the operations; with `part`, given to the replay in parts of so many rows."""
    table = table_of({name: list(cells) for name, cells in columns.items()})
    step = part or max(table.rows, 1)
    parts = [table.take(range(n, min(n + step, table.rows))) for n in range(0, max(table.rows, 1), step)]
    return concatenate(list(replay(prepare(operations), parts))).columns


def transform(column, expression, **more):
    return {"op": "core/text-transform", "description": "", "engineConfig": ALL, "columnName": column} | {
        "expression": expression, "onError": "keep-original", "repeat": False, "repeatCount": 10
    } | more  # fmt: skip


def listed(column, *choices, mode="row-based", **more):
    chosen = [{"v": {"v": choice, "l": str(choice)}} for choice in choices]
    facet = {"type": "list", "name": column, "expression": "value", "columnName": column, "selection": chosen}
    return {"engineConfig": {"mode": mode, "facets": [facet | {"omitBlank": False, "omitError": False} | more]}}


def faceted(facet, mode="row-based"):
    return {"engineConfig": {"mode": mode, "facets": [facet]}}


def test_the_gold_history_gives_the_gold_table_byte_by_byte(tmp_path):
    out = tmp_path / "out.csv"
    replayed = apply_history(shared("doaj-article-clean.json"), shared("doaj-article-sample.csv"), out)
    assert out.read_bytes() == shared("doaj-article-sample-cleaned.csv").read_bytes()
    assert (replayed.steps[1].rows_in, replayed.steps[1].rows_out) == (1001, 4009)
    assert replayed.steps[0].changed == 107


def test_a_lesson_on_real_newspaper_records(tmp_path):
    """The usual steps of a lesson on UCSD_Guardian.csv, against the same in plain Python."""
    raw = shared("UCSD_Guardian.csv")
    history = tmp_path / "history.json"
    history.write_text(
        json.dumps(
            [
                transform("Begin date", "grel:value.toDate('M/d/yyyy').toString('yyyy-MM-dd')"),
                {
                    "op": "core/column-addition",
                    "engineConfig": ALL,
                    "baseColumnName": "Begin date",
                    "newColumnName": "y",
                }
                | {"columnInsertIndex": 1, "expression": "value[0,4].toNumber()", "onError": "set-to-blank"},
                {"op": "core/row-keep-matched", **listed("Title", "UCSD Guardian")},
                {"op": "core/column-reorder", "columnNames": ["y", "Begin date", "Title"]},
            ]
        )
    )
    out = tmp_path / "out.jsonl"
    replayed = apply_history(history, raw, out)
    with raw.open(newline="") as stream:
        reader = csv.reader(stream)
        header = next(reader)
        rows = [row for row in reader if row[header.index("Title")] == "UCSD Guardian"]
    expected = []
    for row in rows:
        parts = row[header.index("Begin date")].split("/")
        dated = len(parts) == 3
        iso = (
            f"{parts[2]}-{int(parts[0]):02d}-{int(parts[1]):02d}" if dated else row[header.index("Begin date")] or None
        )
        year = int(iso[:4]) if iso and iso[:4].isdigit() else None
        expected.append({"y": year, "Begin date": iso, "Title": "UCSD Guardian"})
    assert [json.loads(line) for line in out.read_text().splitlines()] == expected
    assert replayed.rows == len(rows) > 500


def test_splitting_and_counting_inventors_of_real_patents(tmp_path):
    raw = tmp_path / "patents.csv"  # the original is in Windows-1252, which the reader refuses by name
    raw.write_bytes(shared("solar-patents.csv").read_bytes().decode("cp1252").encode())
    with pytest.raises(UserError, match="not UTF-8"):
        list(read_tables(shared("solar-patents.csv")))
    history = tmp_path / "history.json"
    operations = [
        {"op": "core/multivalued-cell-split", "columnName": "Inventor(s)", "keyColumnName": "Application number"}
        | {"mode": "separator", "separator": ";", "regex": False},
        transform("Inventor(s)", "value.trim()"),
        {"op": "core/fill-down", "engineConfig": ALL, "columnName": "Application number"},
    ]
    history.write_text(json.dumps(operations))
    out = tmp_path / "out.tsv"
    apply_history(history, raw, out)
    with raw.open(newline="", encoding="utf-8") as stream:
        expected = Counter(
            (row[0], name.strip())
            for row in list(csv.reader(stream))[1:]
            if row[0] and row[3]
            for name in row[3].split(";")
        )
    with out.open(newline="") as stream:
        found = Counter((row[0], row[3]) for row in list(csv.reader(stream, delimiter="\t"))[1:] if row[3])
    assert found == expected and sum(found.values()) > 2000


def test_text_transform_errors_repeat_and_blank():
    cells = {"c": ["1", "x", None, "aabb"]}
    number = [transform("c", "value.toNumber()")]
    assert done(number, cells)["c"] == [1, "x", None, "aabb"]
    assert done([transform("c", "value.toNumber()", onError="set-to-blank")], cells)["c"] == [1, None, None, None]
    stored = done([transform("c", "value.toNumber()", onError="store-error")], cells)["c"]
    assert stored[0] == 1 and "Cannot parse" in stored[1].message
    assert done([transform("c", "value.replace('ab', 'b')", repeat=True)], cells)["c"][3] == "bb"
    assert done([transform("c", "null")], cells)["c"] == [None] * 4
    assert done([transform("c", "value.split('')")], cells)["c"] == cells["c"]  # a list is not storable


def test_mass_edit_of_values_blanks_and_errors():
    edits = [{"from": ["a", "A "], "to": "alpha"}, {"from": [], "fromBlank": True, "to": "none"}]
    edit = {"op": "core/mass-edit", "engineConfig": ALL, "columnName": "c", "expression": "value", "edits": edits}
    assert done([edit], {"c": ["a", "A ", None, "b"]})["c"] == ["alpha", "alpha", "none", "b"]
    broken = edit | {"expression": "value.toNumber()", "edits": [{"from": [], "fromError": True, "to": 0}]}
    assert done([broken], {"c": ["a", "5"]})["c"] == [0, "5"]


def test_columns_come_go_and_move():
    table = {"a": ["1"], "b": ["2"], "c": ["3"]}
    name = lambda operations: list(done(operations, table))  # noqa: E731
    assert name([{"op": "core/column-rename", "oldColumnName": "b", "newColumnName": "z"}]) == ["a", "z", "c"]
    assert name([{"op": "core/column-removal", "columnName": "b"}]) == ["a", "c"]
    assert name([{"op": "core/column-multi-removal", "columnNames": ["a", "c"]}]) == ["b"]
    assert name([{"op": "core/column-move", "columnName": "c", "index": 0}]) == ["c", "a", "b"]
    assert name([{"op": "core/column-move-first", "columnName": "b"}]) == ["b", "a", "c"]
    assert name([{"op": "core/column-move-last", "columnName": "a"}]) == ["b", "c", "a"]
    assert name([{"op": "core/column-move-right", "columnName": "a"}]) == ["b", "a", "c"]
    assert name([{"op": "core/column-move-left", "columnName": "c"}]) == ["a", "c", "b"]
    assert name([{"op": "core/column-reorder", "columnNames": ["c", "a"]}]) == ["c", "a"]
    added = {"op": "core/column-addition", "engineConfig": ALL, "baseColumnName": "a", "newColumnName": "n"}
    added |= {"expression": 'value + cells["b"].value', "columnInsertIndex": 1, "onError": "set-to-blank"}
    assert done([added], table) == {"a": ["1"], "n": ["12"], "b": ["2"], "c": ["3"]}


def test_column_split():
    split = {"op": "core/column-split", "engineConfig": ALL, "columnName": "c", "guessCellType": True}
    split |= {"removeOriginalColumn": True, "mode": "separator", "separator": "-", "regex": False, "maxColumns": 0}
    table = {"k": ["p", "q", "r"], "c": ["1-x", None, "2.5-y-z"], "c 2": ["taken"] * 3}
    assert done([split], table) == {
        "k": ["p", "q", "r"],
        "c 1": [1, None, 2.5],
        "c 3": ["x", None, "y"],
        "c 4": [None, None, "z"],
        "c 2": ["taken"] * 3,
    }
    assert list(done([split | {"maxColumns": 2}], table)["c 3"]) == ["x", None, "y-z"]
    assert done([split | {"separator": "[-.]", "regex": True}], table)["c 1"] == [1, None, 2]
    by_length = {key: value for key, value in split.items() if key not in ("separator", "regex", "maxColumns")}
    by_length |= {"mode": "lengths", "fieldLengths": [1, 2], "removeOriginalColumn": False, "guessCellType": False}
    assert list(done([by_length], {"c": ["abcd"]}).items()) == [("c", ["abcd"]), ("c 1", ["a"]), ("c 2", ["bc"])]


def test_fill_and_blank_down_by_row_and_by_record():
    fill = {"op": "core/fill-down", "engineConfig": ALL, "columnName": "b"}
    table = {"a": ["k", None, "m", None], "b": ["1", None, None, "2"]}
    assert done([fill], table)["b"] == ["1", "1", "1", "2"]
    by_record = {"engineConfig": {"mode": "record-based", "facets": []}}
    assert done([fill | by_record], table)["b"] == ["1", "1", None, "2"]
    blank = {"op": "core/blank-down", "engineConfig": ALL, "columnName": "a"}
    assert done([blank], {"a": ["x", "x", None, "x", "x"]})["a"] == ["x", None, None, "x", None]


def test_multi_valued_cells_come_apart_and_together():
    split = {"op": "core/multivalued-cell-split", "columnName": "v", "keyColumnName": "k", "mode": "separator"}
    split |= {"separator": "|", "regex": False}
    table = {"k": ["a", "b", None], "v": ["1| 2|3", "4|5", None], "w": ["p", "q", "r"]}
    apart = done([split], table)
    assert apart == {
        "k": ["a", None, None, "b", None],
        "v": ["1", " 2", "3", "4", "5"],
        "w": ["p", None, None, "q", "r"],
    }
    old = {key: value for key, value in split.items() if key != "regex"} | {"mode": "plain"}
    assert done([old], table)["v"][1] == "2"  # version 2 trimmed
    assert done([split | {"separator": r"\|\s*", "regex": True}], table)["v"][:3] == ["1", "2", "3"]
    join = {"op": "core/multivalued-cell-join", "columnName": "v", "keyColumnName": "k", "separator": "|"}
    assert done([split, join], table) == {**table, "v": ["1| 2|3", "4|5", None]}


def test_transposing_and_key_values():
    wide = {"id": ["x", "y"], "a": ["1", None], "b": ["2", "3"], "z": ["p", "q"]}
    rows = {
        "op": "core/transpose-columns-into-rows",
        "startColumnName": "a",
        "columnCount": 2,
        "ignoreBlankCells": True,
    }
    both = rows | {"keyColumnName": "key", "valueColumnName": "value", "fillDown": True}
    assert done([both], wide) == {
        "id": ["x", "x", "y"], "key": ["a", "b", "b"], "value": ["1", "2", "3"], "z": ["p", "p", "q"]
    }  # fmt: skip
    one = rows | {"combinedColumnName": "c", "prependColumnName": True, "separator": ":", "fillDown": False}
    assert done([one], wide) == {"id": ["x", None, "y"], "c": ["a:1", "b:2", "b:3"], "z": ["p", None, "q"]}
    back = {"op": "core/key-value-columnize", "keyColumnName": "key", "valueColumnName": "value"}
    assert done([both, back], wide) == {"id": ["x", "y"], "z": ["p", "q"], "a": ["1", None], "b": ["2", "3"]}
    plain = {"k": ["n", "m", "n", "m"], "v": ["1", "2", "3", "4"]}
    assert done([back | {"keyColumnName": "k", "valueColumnName": "v"}], plain) == {"n": ["1", "3"], "m": ["2", "4"]}
    columns = {"op": "core/transpose-rows-into-columns", "columnName": "v", "rowCount": 2}
    assert done([columns], {"v": ["1", "2", "3"], "k": ["a", None, "b"]}) == {
        "v 1": ["1", "3"], "v 2": ["2", None], "k": ["a", "b"]
    }  # fmt: skip


def test_rows_go_stay_are_marked_and_sorted():
    table = {"a": ["b", "A", "c", None, "a"], "n": [10, 9, 2, 1, 3]}
    remove = {"op": "core/row-removal", **listed("a", "b", "c")}
    assert done([remove], table)["a"] == ["A", None, "a"]
    assert done([remove | listed("a", "b", selectBlank=True)], table)["a"] == ["A", "c", "a"]
    assert done([remove | listed("a", "b", invert=True)], table)["a"] == ["b"]
    star = {"op": "core/row-star", "starred": True, **listed("a", "b")}
    starred = {"type": "list", "name": "s", "expression": "row.starred", "columnName": "", "selection": []}
    starred["selection"] = [{"v": {"v": True, "l": "true"}}]
    assert done([star, {"op": "core/row-removal", **faceted(starred)}], table)["a"] == ["A", "c", None, "a"]
    criterion = {"column": "a", "valueType": "text", "reverse": False, "caseSensitive": False}
    criterion |= {"blankPosition": 2, "errorPosition": 1}
    sort = {"op": "core/row-reorder", "mode": "row-based", "sorting": {"criteria": [criterion]}}
    assert done([sort], table)["a"] == ["A", "a", "b", "c", None]
    numeric = criterion | {"column": "n", "valueType": "number", "reverse": True}
    assert done([sort | {"sorting": {"criteria": [numeric]}}], table)["n"] == [10, 9, 3, 2, 1]
    first = criterion | {"blankPosition": -1}
    assert done([sort | {"sorting": {"criteria": [first]}}], table)["a"][0] is None
    unique = {"op": "core/row-duplicate-removal", "criteria": ["a"]}
    assert done([unique], {"a": ["x", "y", "x"], "b": [1, 2, 3]})["b"] == [1, 2]
    add = {"op": "core/row-addition", "addedRows": [{"cells": []}], "insertionIndex": 1}
    assert done([add], {"a": ["x", "y"]})["a"] == ["x", None, "y"]


def test_facets_of_text_numbers_and_time():
    table = {"a": ["Apple", "banana", None, "10"], "n": [1.5, 7, None, "x"]}
    left = lambda facet, column="a": done([{"op": "core/row-removal", **faceted(facet)}], table)[column]  # noqa: E731
    text = {"type": "text", "name": "a", "columnName": "a", "query": "AP", "mode": "text", "caseSensitive": False}
    assert left(text) == ["banana", None, "10"]
    assert left(text | {"caseSensitive": True}) == table["a"]
    assert left(text | {"query": "^b.*a$", "mode": "regex"}) == ["Apple", None, "10"]
    assert left(text | {"invert": True}) == ["Apple"]
    between = {"type": "range", "name": "n", "expression": "value", "columnName": "n", "from": 1, "to": 7}
    none = {"selectNonNumeric": False, "selectBlank": False, "selectError": False}
    assert left(between | none, "n") == [7, None, "x"]
    assert left(between | none | {"selectBlank": True}, "n") == [7, "x"]
    time = {"type": "timerange", "name": "t", "expression": "value.toDate()", "columnName": "d"}
    time |= {"from": 1420070400000, "to": 1451606400000, "selectNonTime": False, "selectBlank": False}
    operation = {"op": "core/row-keep-matched", **faceted(time | {"selectError": False})}
    assert done([operation], {"d": ["2015-06-01", "2014-06-01", "no"]})["d"] == ["2015-06-01"]


def test_a_record_is_selected_whole():
    table = {"k": ["a", None, "b", None, None], "v": ["1", "2", "3", "4", None]}
    assert records(table_of(table)) == [range(0, 2), range(2, 4), range(4, 5)]
    remove = {"op": "core/row-removal", **listed("v", "2", mode="record-based")}
    assert done([remove], table)["v"] == ["3", "4", None]
    count = transform("v", "row.record.rowCount")
    assert done([count], table)["v"] == [2, 2, 2, 2, 1]


ROWS = st.lists(
    st.tuples(*[st.one_of(st.none(), st.sampled_from(["a", "b", "A b", "1", "2.5"]))] * 3), min_size=1, max_size=30
)
STREAMING = [
    transform("x", "value.toUppercase() + row.index"),
    {"op": "core/fill-down", "engineConfig": ALL, "columnName": "y"},
    {"op": "core/row-removal", **listed("x", "b")},
    {"op": "core/blank-down", "engineConfig": ALL, "columnName": "z"},
    {"op": "core/row-duplicate-removal", "criteria": ["x", "y"]},
    {
        "op": "core/multivalued-cell-split",
        "columnName": "z",
        "keyColumnName": "x",
        "mode": "separator",
        "separator": " ",
    },
    transform("y", "rowIndex"),
    transform("y", "row.record.index + value + row.record.fromRowIndex + '-' + row.record.toRowIndex"),
    transform("z", "row.record.cells['y'].value.join('|')"),
    {"op": "core/row-removal", **listed("y", "a", mode="record-based")},
    {"op": "core/fill-down", **listed("y", "b", "1", mode="record-based"), "columnName": "z"},
    {
        "op": "core/column-split",
        "engineConfig": ALL,
        "columnName": "y",
        "mode": "separator",
        "separator": " ",
        "removeOriginalColumn": False,
    },
    *(
        {
            "op": "core/row-reorder",
            "mode": mode,
            "sorting": {
                "criteria": [
                    {"column": "y", "valueType": kind, "reverse": True, "blankPosition": -1},
                    {"column": "z", "valueType": "text", "reverse": False, "errorPosition": 2},
                ]
            },
        }
        for mode, kind in (("row-based", "text"), ("record-based", "number"))
    ),
]


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(1, 7), st.randoms())
def test_parts_give_what_the_whole_gives(rows, part, drawn):
    operations = drawn.sample(STREAMING, 4)
    columns = dict(zip("xyz", map(list, zip(*rows, strict=True)), strict=True))
    assert done(operations, columns, part) == done(operations, columns)


@pytest.mark.parametrize(
    ("operation", "named"),
    [
        ({"op": "core/recon", "description": "Reconcile cells"}, "reconciliation service"),
        ({"op": "core/column-addition-by-fetching-urls", "description": "fetch"}, "fetches URLs"),
        ({"op": "core/recon-match-best-candidates"}, "reconciliation"),
        ({"op": "core/denormalize"}, "core/denormalize"),
        (transform("c", "jython:return value", description="my python"), "jython"),
        (transform("c", "value.phonetic('x')"), "phonetic"),
        (transform("c", "value", onError="explode"), "explode"),
        ({"op": "core/row-removal", **faceted({"type": "scatterplot", "name": "s"})}, "scatterplot"),
        ({"op": "core/row-removal", **listed("c", "a") | {"engineConfig": {"mode": "odd", "facets": []}}}, "odd"),
        ({"op": "core/column-rename", "oldColumnName": "c"}, "newColumnName"),
        ({"op": "core/fill-down", "columnName": 7}, "columnName"),
        ("text", "JSON object"),
    ],
)
def test_refusals_before_anything_runs(operation, named, tmp_path):
    good = transform("c", "value.trim()")
    with pytest.raises(UserError, match="nothing was run") as caught:
        prepare([good, operation])
    assert named in str(caught.value) and "operation 2" in str(caught.value)
    (tmp_path / "h.json").write_text(json.dumps([good, operation]))
    (tmp_path / "t.csv").write_text("c\n a\n")
    with pytest.raises(UserError):
        apply_history(tmp_path / "h.json", tmp_path / "t.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_what_fails_while_running_leaves_the_old_file(tmp_path):
    (tmp_path / "t.csv").write_text("c\na\n")
    (tmp_path / "out.csv").write_text("before")
    for operation in (
        {"op": "core/column-removal", "description": "gone", "columnName": "nope"},
        transform("c", "value.toDate('y' + ' G')", description="eras"),
    ):
        (tmp_path / "h.json").write_text(json.dumps([operation]))
        with pytest.raises(UserError, match=r"operation 1 .*nothing was written"):
            apply_history(tmp_path / "h.json", tmp_path / "t.csv", tmp_path / "out.csv")
        assert (tmp_path / "out.csv").read_text() == "before"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["h.json", "out.csv", "t.csv"]


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=6,
)
FIELDS = [
    *("engineConfig", "columnName", "expression", "edits", "separator", "mode", "columnNames", "index", "fieldLengths"),
    *(
        "startColumnName",
        "columnCount",
        "rowCount",
        "criteria",
        "sorting",
        "keyColumnName",
        "valueColumnName",
        "facets",
    ),
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from([f"core/{name}" for name in sorted(OPERATIONS)]),
    st.dictionaries(
        st.sampled_from(FIELDS), st.one_of(json_values, st.sampled_from(["c", "d", "value", ALL])), max_size=8
    ),
)
def test_no_operation_crashes(op, fields):
    with contextlib.suppress(UserError):
        done([{"op": op, **fields}], {"c": ["a|b", None, "1"], "d": [1, 2.5, None]})


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


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "h.json").write_text(json.dumps([transform("c", "value.trim()", description="Trim c")]))
    (tmp_path / "t.csv").write_text("c\n a \nb\n")
    result = CliRunner().invoke(app, ["openrefine-apply", str(tmp_path / "h.json"), str(tmp_path / "t.csv")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "t-refined.csv").read_text() == "c\na\nb\n"


DOCUMENTS = [
    ("colour  of the sky is blue today and every day", "Sky"),
    ("grass is green and grows in the wet garden", "sky "),
    ("drop this document because it is only a draft", "grass"),
]


def documents():
    return documents_table(
        [
            {"id": text_hash(str(n)), "text": text, "label": label, "source": "t", "uri": f"t:{n}", "content_hash": "x"}
            | {"parents": [], "steps": []}
            for n, (text, label) in enumerate(DOCUMENTS)
        ]
    )


def test_clean_replays_a_history_over_the_documents(tmp_path):
    history = tmp_path / "h.json"
    draft = {
        "type": "text",
        "name": "t",
        "columnName": "text",
        "query": "draft",
        "mode": "text",
        "caseSensitive": False,
    }
    operations = [
        transform("text", "value.replace('colour', 'color')"),
        transform("label", "value.trim().toLowercase()"),
        {"op": "core/row-removal", "description": "no drafts", **faceted(draft)},
    ]
    history.write_text(json.dumps(operations))
    config = CleanConfig(
        openrefine=str(history),
        min_chars=5,
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    kept, rejected = clean_table(documents(), config)
    assert [text.split()[0] for text in kept["text"].to_pylist()] == ["color", "grass"]
    assert kept["label"].to_pylist() == ["sky", "sky"]
    assert all("openrefine" in steps for steps in kept["steps"].to_pylist())
    assert rejected["reason"].to_pylist() == ["openrefine"] and rejected["text"].to_pylist() == [DOCUMENTS[2][0]]
    before = clean_state(config)
    history.write_text(json.dumps(operations[:1]))
    assert clean_state(config) != before and clean_state(CleanConfig()) == ""
    for empty in (operations, [{"op": "core/row-reorder", "mode": "row-based"}]):
        history.write_text(json.dumps(empty))
        assert [table.num_rows for table in clean_table(documents().slice(0, 0), config)] == [0, 0]
    history.write_text(json.dumps([{"op": "core/transpose-rows-into-columns", "columnName": "text", "rowCount": 2}]))
    with pytest.raises(UserError, match="keep each row one row"):
        clean_table(documents(), config)
    history.write_text(json.dumps([{"op": "core/column-removal", "columnName": "text"}]))
    with pytest.raises(UserError, match="without the column 'text'"):
        clean_table(documents(), config)


@pytest.mark.parametrize("waits", ["nothing", "row-reorder", "column-split", "records"])
def test_a_history_over_many_documents_does_not_depend_on_batches(tmp_path, monkeypatch, waits):
    """Rows keep their provenance and none is lost, whether operations stream or wait, in batches of any size."""
    words = ["river", "stone", "market", "window", "letter", "garden", "engine", "bridge"]
    drawn = random.Random(5)
    rows = [
        {"id": text_hash(str(n)), "text": " ".join(drawn.choices(words, k=14)) + f" {n}", "label": drawn.choice("xy")}
        | {"source": f"s{n % 3}", "uri": f"t:{n}", "content_hash": "x", "parents": [], "steps": []}
        for n in range(400)
    ]
    facet = {
        "type": "text",
        "name": "t",
        "columnName": "text",
        "query": "^river",
        "mode": "regex",
        "caseSensitive": True,
    }
    operations = [transform("text", "value.toUppercase() + row.index"), {"op": "core/row-removal", **faceted(facet)}]
    operations = operations[::-1]
    criterion = {"column": "label", "valueType": "text", "reverse": False, "caseSensitive": True}
    if waits == "row-reorder":
        operations.append({"op": "core/row-reorder", "mode": "row-based", "sorting": {"criteria": [criterion]}})
    if waits == "column-split":
        operations.append({"op": "core/column-split", "columnName": "uri", "mode": "separator", "separator": ":"})
    if waits == "records":
        operations.append(transform("text", "value + row.record.rowCount"))
    (tmp_path / "h.json").write_text(json.dumps(operations))
    config = CleanConfig(
        openrefine=str(tmp_path / "h.json"),
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    found = []
    for size in (7, 1000):
        for module in ("clean", "clean_passes"):
            monkeypatch.setattr(f"llm_assets.data.{module}.BATCH_ROWS", size)
        found.append([table.to_pylist() for table in clean_table(documents_table(rows), config)])
    assert found[0] == found[1]
    kept, rejected = found[0]
    by_id = {row["id"]: row for row in rows}
    assert sorted(row["id"] for row in kept + rejected) == sorted(by_id) and len(rejected) > 20
    assert all(
        row["source"] == by_id[row["id"]]["source"] and row["label"] == by_id[row["id"]]["label"] for row in kept
    )
    assert all(row["text"].startswith("river") and row["reason"] == "openrefine" for row in rejected)
    assert all(row["text"].startswith(by_id[row["id"]]["text"].upper()) for row in kept)
