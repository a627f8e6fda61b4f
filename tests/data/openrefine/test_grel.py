"""GREL: what expressions mean, that trees and texts agree, and that no text crashes the parser."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.data.openrefine.evaluate import CONTROLS, compile_expression
from llm_assets.data.openrefine.parser import (
    Array,
    Call,
    Field,
    Literal,
    Name,
    Operation,
    Regex,
    parse,
    text_of_tree,
)
from llm_assets.data.openrefine.registry import FUNCTIONS
from llm_assets.data.openrefine.table import Bound, table_of
from llm_assets.data.openrefine.values import EvalError, NotSupported, text_of
from llm_assets.errors import UserError

QUICK = settings(max_examples=300, deadline=None)


def value_of(expression: str, value=None, **others):
    return compile_expression(expression).evaluate({"value": value, **others})


CASES = [
    ("value.trim()", " a \u00a0", "a"),
    ("grel:value.toUppercase()", "abc", "ABC"),
    ("value.toTitlecase()", "tHE u.s. cow", "The U.S. Cow"),
    ("value.replace('a', 'b').length()", "banana", 6),
    ("value.replace(/\\s+/, ' ')", "a  b\t c", "a b c"),
    ("value.replace(/(\\w+), (\\w+)/, '$2 $1')", "Doe, John", "John Doe"),
    ("value.split('|')[0]", "x|y", "x"),
    ("value.split('|')[-1]", "x|y", "y"),
    ("value.split(',').join('; ')", "a,b,,c", "a; b; c"),
    ("value.split(',', true)", "a,,c", ["a", "", "c"]),
    ("value[1,3]", "abcdef", "bc"),
    ("value[-2]", "abcdef", "e"),
    ("value.substring(2)", "abcdef", "cdef"),
    ("value.slice(-3, -1)", "abcdef", "de"),
    ("value.length()", "a😀", 3),
    ("value.match(/(\\d{4})-(\\d\\d).*/)[1]", "2015-11-30", "11"),
    ("value.match(/\\d+/)", "a1", None),
    ("value.find(/\\d+/).join('+')", "a1b22", "1+22"),
    ("value.contains('an')", "banana", True),
    ("value.startsWith('b')", "banana", True),
    ("value.indexOf('n')", "banana", 2),
    ("value.lastIndexOf('n')", "banana", 4),
    ("value.chomp('na')", "banana", "bana"),
    ("value.partition('n')", "banana", ["ba", "n", "ana"]),
    ("value.rpartition('n', true)", "banana", ["bana", "a"]),
    ("value.splitByLengths(2, 3)", "abcdefg", ["ab", "cde"]),
    ("value.smartSplit(',')", '"a,b",c', ["a,b", "c"]),
    ("value.replaceChars('ab', 'x')", "abcab", "xcx"),
    ("value.fingerprint()", "  Doe, John JOHN é", "doe e john"),
    ("value.ngramFingerprint(2)", "Par is", "arispari"),
    ("value.escape('html')", "<a & 'b'>", "&lt;a &amp; 'b'&gt;"),
    ("value.unescape('html')", "&eacute;&amp;", "é&"),
    ("value.escape('url')", "a b&c", "a+b%26c"),
    ("value.md5()", "a", "0cc175b9c0f1b6a831c399e269772661"),
    ("value.toNumber() + 1", "41", 42),
    ("value.toNumber()", "1.50", 1.5),
    ("value.toNumber() / 2", "7", 3),
    ("value.toNumber() % 4", "-7", -3),
    ("1 + 2 * 3", None, 7),
    ("(1 + 2) * 3", None, 9),
    ("7 / 2.0", None, 3.5),
    ("'a' + 1", None, "a1"),
    ("value + 1.0", "x", "x1.0"),
    ("1 < 2", None, True),
    ("'a' < 'B'", None, True),
    ("'é' == 'e\u0301'", None, True),
    ("null == value", None, True),
    ("1 == '1'", None, False),
    ("if(value == 'a', 1, 2)", "a", 1),
    ("if(isBlank(value), 'none', value)", None, "none"),
    ("with(value.length(), n, n * n)", "abc", 9),
    ("forEach(value.split(','), v, v.trim()).join('|')", "a, b", "a|b"),
    ("forEachIndex(value.split(','), i, v, i + v).join('')", "x,y", "0x1y"),
    ("filter([1, 2, 3], n, n > 1)", None, [2, 3]),
    ("forNonBlank(value, v, v, '-')", "", "-"),
    ("forRange(0, 6, 2, n, n)", None, [0, 2, 4]),
    ("reduce([1, 2, 3], n, acc, 0, acc + n)", None, 6),
    ("isError(value.toNumber())", "x", True),
    ("isNumeric(value)", "12.5", True),
    ("coalesce(null, value)", "z", "z"),
    ("value.type()", 1.5, "number"),
    ("type(null)", None, "undefined"),
    ("and(true, value == 1)", 1, True),
    ("not(true)", None, False),
    ("or(false, false)", None, False),
    ("uniques([1, 2, 1, 'a', 'a'])", None, [1, 2, "a"]),
    ("[3, 1, 2].sort().reverse().join(',')", None, "3,2,1"),
    ("inArray(['a', 'b'], value)", "b", True),
    ("zip([1, 2], ['a', 'b'])", None, [[1, "a"], [2, "b"]]),
    ("sum([1, 2, 3])", None, 6),
    ("round(value)", 2.5, 3),
    ("floor(-1.5)", None, -2),
    ("max(1, 2.5)", None, 2.5),
    ("mod(7, 3)", None, 1),
    ("pow(2, 10)", None, 1024.0),
    ("value.parseJson().a[1].b", '{"a":[1,{"b":"x"}]}', "x"),
    ("value.parseJson()['k']", '{"k":2}', 2),
    ("jsonize(value)", 'a"b', '"a\\"b"'),
    ("value.toDate('dd/MM/yyyy').toString('yyyy-MM-dd')", "01/11/2015", "2015-11-01"),
    ("value.toDate().toString('d MMM yyyy')", "30 November 2015", "30 Nov 2015"),
    ("value.toDate('M/d/yyyy').datePart('year')", "2/10/1994", 1994),
    ("value.toDate().datePart('weekday')", "2015-11-30", "Monday"),
    ("value.toDate().inc(1, 'month').toString('yyyy-MM-dd')", "2015-01-31", "2015-02-28"),
    ("diff('2015-11-30'.toDate(), value.toDate(), 'days')", "2015-11-01", 29),
    ("'10/02/2015'.toDate(false).toString('yyyy-MM-dd')", None, "2015-02-10"),
    ("value.toString()", 1.0, "1.0"),
    ("toString(1234.5, '%.2f')", None, "1234.50"),
    ("value.levenshteinDistance('kitten')", "sitting", 3.0),
    ("hasField(value.parseJson(), 'a')", '{"a":null}', True),
    ("'a.b'.split('.').length()", None, 2),
]


@pytest.mark.parametrize(("expression", "value", "expected"), CASES, ids=[case[0] for case in CASES])
def test_what_expressions_mean(expression, value, expected):
    found = value_of(expression, value)
    assert found == expected and type(found) is type(expected)


def test_errors_are_values_and_pass_through():
    for expression, value in [
        ("value.toNumber()", "abc"),
        ("value.trim()", None),
        ("value.toNumber() + 1", "x"),
        ("value.foo", "text"),
        ("cells.x.value", None),
        ("value.replace('a')", "b"),
        ("value.toDate()", "no date"),
        ("value.replace(/(a)/, '$2')", "a"),
        ("1 % 0", None),
        ("inc(value, 1, 'days')", "text"),
    ]:
        assert isinstance(value_of(expression, value), EvalError), expression
    assert value_of("1 / 0") == math.inf


def test_cells_rows_and_records():
    bound = Bound(table_of({"key": ["a", None, "b"], "value of": [1, 2, None]}), "key")
    at = lambda place, text: compile_expression(text).evaluate(bound.at(place))  # noqa: E731
    assert at(0, 'cells["value of"].value + 1') == 2
    assert at(2, "row.index") == 2 and at(2, "rowIndex") == 2 and at(0, "row.starred") is False
    assert at(0, "cells.key.value") == at(0, "value") == at(0, "cell.value") == "a"
    assert isinstance(at(2, 'cells["value of"].value'), EvalError)
    assert at(1, "row.record.rowCount") == 2 and at(1, "row.record.fromRowIndex") == 0
    assert at(1, 'row.record.cells["value of"].value.join("+")') == "1+2"
    assert compile_expression("row.record.index").needs_records and not compile_expression("row.index").needs_records
    assert compile_expression("value.trim()").value_only and not compile_expression("cells.a.value").value_only


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("jython:return value", "jython"),
        ("clojure:(str value)", "clojure"),
        ("value.phonetic('metaphone3')", "'phonetic'"),
        ("value.parseHtml().select('a')", "'parseHtml'"),
        ("cross(value, 'p', 'c')", "another OpenRefine project"),
        ("now()", "differ from run to run"),
        ("facetCount(value, 'value', 'c')", "facet"),
        ("value.replace(/\\p{javaUpperCase}/, '')", "javaUpperCase"),
        ("valeu.trim()", "'valeu'"),
        ("value.trim(", "offset 11"),
        ("value trim", "whole expression"),
        ("'open", "not closed"),
        ("if(value)", "2 or 3"),
        ("forEach(value, 1, v)", "variable"),
        ("/[/", "regular expression"),
    ],
)
def test_refusals_name_what_is_refused(expression, named):
    with pytest.raises(UserError, match=named.replace("(", r"\(")):
        compile_expression(expression)


names = st.sampled_from(["value", "cells", "row", "v", "n_1", "PI"])
literals = st.one_of(
    st.text(max_size=8),
    st.integers(-(10**17), 10**17),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.none(),
    st.just(""),
).map(Literal)
leaves = st.one_of(
    literals, names.map(Name), st.sampled_from(["a+", r"\d", "[^a]", r"\/"]).map(lambda p: Regex(p, len(p) > 2))
)


def grown(children):
    arguments = st.lists(children, max_size=3).map(tuple)
    return st.one_of(
        st.builds(
            Operation, st.sampled_from(["+", "-", "*", "/", "%", "<", "<=", ">", ">=", "==", "!="]), children, children
        ),
        st.builds(Call, st.sampled_from([*sorted(FUNCTIONS), *sorted(CONTROLS)]), arguments),
        st.builds(Array, arguments),
        st.builds(
            Field, children.filter(lambda node: not isinstance(node, Literal) or isinstance(node.value, str)), names
        ),
    )


@QUICK
@given(st.recursive(leaves, grown, max_leaves=12))
def test_a_tree_survives_its_text(tree):
    assert parse(text_of_tree(tree), FUNCTIONS, CONTROLS) == tree


GREL_TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "value",
                ".",
                "(",
                ")",
                "[",
                "]",
                ",",
                "'",
                '"',
                "/",
                "\\",
                "+",
                "-",
                "==",
                "if",
                "forEach",
                "1",
                "2.5",
                " ",
            ]
        ),
        st.sampled_from([*sorted(FUNCTIONS), *sorted(CONTROLS), "true", "null", "[^a", "\\p{L}", "😀", "x"]),
        st.text(max_size=3),
    ),
    max_size=25,
).map("".join)


@QUICK
@given(GREL_TEXT, st.one_of(st.none(), st.text(max_size=12), st.integers(), st.floats(), st.booleans()))
def test_no_text_crashes(text, value):
    try:
        expression = compile_expression(text)
    except UserError:
        return
    with contextlib.suppress(NotSupported):
        text_of(expression.evaluate({"value": value, "columnName": "c"}))


values = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.integers(-(10**6), 10**6),
    st.floats(),
    st.booleans(),
    st.lists(st.one_of(st.text(max_size=3), st.integers(-9, 9)), max_size=3),
)


@QUICK
@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(values, max_size=4))
def test_every_function_answers_any_arguments_with_a_value(name, arguments):
    with contextlib.suppress(NotSupported):
        FUNCTIONS[name](arguments)


def test_deep_nesting_is_refused_not_a_crash():
    for text in (
        "(" * 5000,
        "[" * 5000 + "1",
        "-" * 3000,
        "1" + "+1" * 5000,
        "value" + ".trim()" * 5000,
        "not(" * 3000,
    ):
        with pytest.raises(UserError):
            compile_expression(text)
