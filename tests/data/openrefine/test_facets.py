"""Which rows an operation works on."""

from __future__ import annotations

from histories import done, faceted, listed, transform

from llm_assets.data.openrefine.table import records, table_of


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
