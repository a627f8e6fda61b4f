"""Tables come in parts: the result is that of the whole."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import whole_tables
from histories import ALL, done, listed, transform
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peaks import printed

from llm_assets.data.openrefine import key_values, row, runs
from llm_assets.data.openrefine.values import EvalError
from llm_assets.errors import UserError

FEW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

ROWS = st.lists(
    st.tuples(*[st.one_of(st.none(), st.sampled_from(["a", "b", "A b", "1", "2.5"]))] * 3), min_size=1, max_size=30
)
INTO_ROWS = {"op": "core/transpose-columns-into-rows", "ignoreBlankCells": True, "separator": ":", "fillDown": False}
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
    {"op": "core/multivalued-cell-join", "columnName": "y", "keyColumnName": "x", "separator": ", "},
    INTO_ROWS | {"startColumnName": "y", "columnCount": 2, "keyColumnName": "z", "valueColumnName": "y"},
    INTO_ROWS | {"startColumnName": "x", "combinedColumnName": "x", "columnCount": 2, "prependColumnName": True},
    {"op": "core/transpose-rows-into-columns", "columnName": "z", "rowCount": 3},
    {"op": "core/key-value-columnize", "keyColumnName": "y", "valueColumnName": "z"},
    {"op": "core/key-value-columnize", "keyColumnName": "x", "valueColumnName": "y", "noteColumnName": "z"},
    {"op": "core/row-addition", "addedRows": [{"cells": []}] * 2, "insertionIndex": 0},
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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rows are in memory together, also on their way from disk."""
    for module in (row, key_values):
        monkeypatch.setattr(module, "PART", 3)
    monkeypatch.setattr(runs, "PIECE_BYTES", 40)
    monkeypatch.setattr(runs, "TOGETHER", 2)


def outcome(operations, columns, part: int | None = None):
    try:
        return list(done(operations, columns, part).items())
    except UserError as error:  # a column went
        return str(error)


@FEW
@given(ROWS, st.integers(1, 7), st.randoms())
def test_parts_give_what_the_whole_gives(small, rows, part, drawn):
    operations = drawn.sample(STREAMING, 4)
    columns = dict(zip("xyz", map(list, zip(*rows, strict=True)), strict=True))
    assert outcome(operations, columns, part) == outcome(operations, columns)


CELLS = st.sampled_from(
    ["a", "b", "a|b", "a|b|c", "k", 1, 2.5, True, EvalError("no"), datetime(2020, 1, 2, tzinfo=UTC)]
)
WIDE = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.tuples(*[st.one_of(st.none(), CELLS)] * n), min_size=1, max_size=20)
)


@FEW
@given(WIDE, st.integers(1, 7), st.randoms())
def test_operations_that_make_other_rows_go_by_their_rules(small, cells, part, drawn):
    names = list("xyzw")[: len(cells[0])]
    rows = [dict(zip(names, row, strict=True)) for row in cells]
    columns = {name: [row[name] for row in rows] for name in names}
    one, other, third, count = *(drawn.choice(names) for _ in range(3)), drawn.randint(1, 3)
    note, fill = drawn.choice([third, ""]), drawn.choice([True, False])
    keyed = {"columnName": one, "keyColumnName": other, "separator": "|"}
    into_rows = INTO_ROWS | {"startColumnName": one, "columnCount": count, "fillDown": fill}
    for operation, expected in [
        ({"op": "core/multivalued-cell-join", **keyed}, whole_tables.joined(rows, one, other, "|")),
        ({"op": "core/multivalued-cell-split", **keyed}, whole_tables.split(rows, one, other, "|")),
        (
            into_rows | {"keyColumnName": "key", "valueColumnName": "value"},
            whole_tables.into_rows(rows, one, count, "key", "value", fill),
        ),
        (
            {"op": "core/transpose-rows-into-columns", "columnName": one, "rowCount": count},
            whole_tables.into_columns(rows, one, count),
        ),
        (
            {"op": "core/key-value-columnize", "keyColumnName": one, "valueColumnName": other, "noteColumnName": note},
            whole_tables.columns_of_keys(rows, one, other, note),
        ),
    ]:
        found = done([operation], columns, part)
        made = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
        assert made == expected, operation
        assert not expected or list(found) == list(expected[0])


def test_rows_are_added_where_they_are_wanted():
    table = {"a": [*"stuvw"]}
    add = {"op": "core/row-addition", "addedRows": [{"cells": []}]}
    for index in range(6):
        expected = [*"stuvw"[:index], None, *"stuvw"[index:]]
        assert done([add | {"insertionIndex": index}], table, 2)["a"] == expected
    for index in (-1, 6):
        with pytest.raises(UserError, match=f"rows cannot be inserted at {index} of 5; nothing was written"):
            done([add | {"insertionIndex": index}], table, 2)


def test_notes_have_columns_of_their_own():
    """Also where there is one of that name already."""
    columns = {"n : a": ["s", "s"], "k": ["a", "a"], "v": ["1", "2"], "n": ["x", "y"]}
    back = {"op": "core/key-value-columnize", "keyColumnName": "k", "valueColumnName": "v", "noteColumnName": "n"}
    assert done([back], columns) == {"n : a": ["s"], "a": ["2"], "n : a2": ["x;y"]}


ENGINE = {"engineConfig": {"mode": "record-based", "facets": []}}
GROWING = {
    "join": [{"op": "core/multivalued-cell-join", "columnName": "text", "keyColumnName": "key", "separator": "|"}],
    "split": [{"op": "core/multivalued-cell-split", "columnName": "many", "keyColumnName": "n", "separator": "|"}],
    "into rows": [INTO_ROWS | {"startColumnName": "n", "columnCount": 9, "combinedColumnName": "n", "fillDown": True}],
    "into columns": [{"op": "core/transpose-rows-into-columns", "columnName": "text", "rowCount": 3}],
    "keys": [{"op": "core/key-value-columnize", "keyColumnName": "team", "valueColumnName": "text"}],
    "keys only": [
        {"op": "core/column-reorder", "columnNames": ["team", "text"]},
        {"op": "core/key-value-columnize", "keyColumnName": "team", "valueColumnName": "text"},
    ],
    "addition": [{"op": "core/row-addition", "addedRows": [{"cells": []}], "insertionIndex": 3}],
    "sorting": [{"op": "core/row-reorder", "sorting": {"criteria": [{"column": "team", "valueType": "text"}]}}],
    "columns": [{"op": "core/column-split", "columnName": "many", "mode": "separator", "separator": "|"}],
    "records": [
        {"op": "core/fill-down", **ENGINE, "columnName": "team"},
        {"op": "core/row-removal", **listed("team", "a", mode="record-based")},
    ],
}


@pytest.mark.parametrize("operation", GROWING)
def test_ten_times_the_rows_need_no_more_memory(operation: str, tmp_path: Path) -> None:
    """10 MB of texts instead of 1."""
    (tmp_path / "h.json").write_text(json.dumps(GROWING[operation]))
    code = """
        import json, random, sys
        from pathlib import Path
        from llm_assets.data.openrefine import runs, table
        from llm_assets.data.openrefine.apply import apply_history

        folder, rng = Path(sys.argv[1]), random.Random(1)
        # What is bounded anyway is small here, so that both sizes reach the bounds.
        table.together.__defaults__, runs.PIECE_BYTES = (2**17,), 2**12
        words = " ".join(f"word{rng.randrange(3000)}" for _ in range(20_000))

        def apply():
            replayed = apply_history(folder / "h.json", folder / "t.jsonl", folder / "o.csv")
            assert replayed.steps[0].rows_in == count

        for count in (500, 500, 5_000):  # the first time it imports
            with (folder / "t.jsonl").open("w") as out:
                for n in range(count):
                    text = words[(start := rng.randrange(len(words) - 2000)) : start + 2000]
                    row = {"key": None if n % 4 else f"k{n}", "n": str(n), "team": "abcd"[n % 4], "many": "x|y|z"}
                    out.write(json.dumps(row | {"text": text}) + "\\n")
            print(peak(apply))
    """
    _, small, large = printed(code, tmp_path)
    assert large < small + 4 * 2**20, (small, large)
