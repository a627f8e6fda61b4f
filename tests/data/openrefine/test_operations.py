"""What each operation does to cells, columns and rows."""

from __future__ import annotations

from histories import ALL, done, faceted, listed, transform


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
