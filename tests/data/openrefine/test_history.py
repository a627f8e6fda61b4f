"""Histories: gold replays, refusals, and the command."""

from __future__ import annotations

import contextlib
import csv
import json
from collections import Counter

import pytest
from histories import ALL, done, faceted, listed, shared, transform
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from llm_assets.cli import app
from llm_assets.data.openrefine.apply import apply_history
from llm_assets.data.openrefine.files import read_tables
from llm_assets.data.openrefine.history import prepare
from llm_assets.data.openrefine.operation import OPERATIONS
from llm_assets.errors import UserError


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


def test_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "h.json").write_text(json.dumps([transform("c", "value.trim()", description="Trim c")]))
    (tmp_path / "t.csv").write_text("c\n a \nb\n")
    result = CliRunner().invoke(app, ["openrefine-apply", str(tmp_path / "h.json"), str(tmp_path / "t.csv")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "t-refined.csv").read_text() == "c\na\nb\n"
