"""Standard forms of dates and numbers, and missing values by policy."""

from __future__ import annotations

import csv
import tempfile
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from table_data import shared

from llm_assets.data.readings import date_readings, number_readings
from llm_assets.data.standardise import standardise
from llm_assets.data.stored import Storing, store_table
from llm_assets.data.table_config import ColumnPolicy
from llm_assets.errors import UserError

QUICK = settings(max_examples=100, deadline=None)


def standardised(table: pa.Table, policies: list[ColumnPolicy]):
    """(table, rejections as rows with their number, a report a column)."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = store_table(table, folder / "read.arrow")
        with Storing(folder / "gone.arrow", pa.schema([("reason", pa.string()), ("detail", pa.string())])) as gone:
            out, reports = standardise(read, policies, folder / "out.arrow", gone, map)
        rejections = [
            {"row": number, **row}
            for numbers, batch in gone.stored().batches()
            for number, row in zip(numbers.tolist(), batch.to_pylist(), strict=True)
        ]
        return out.table(), rejections, reports


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("2015-11-30", {"": "2015-11-30"}),
        ("20151130", {"": "2015-11-30"}),
        ("30/11/2015", {"day_first": "2015-11-30"}),
        ("11/30/2015", {"month_first": "2015-11-30"}),
        ("1/2/2003", {"day_first": "2003-02-01", "month_first": "2003-01-02"}),
        ("01/02/03", {"day_first": "2003-02-01", "month_first": "2003-01-02", "year_first": "2001-02-03"}),
        ("7 May 1979", {"": "1979-05-07"}),
        ("Thursday, February 10, 1994", {"": "1994-02-10"}),
        ("10-Feb-94", {"day_first": "1994-02-10"}),
        ("10-Feb-11", {"day_first": "2011-02-10", "year_first": "2010-02-11"}),
        ("2015-11-30T01:02Z", {"": "2015-11-30T01:02:00Z"}),
        ("2015-11-30 01:02:03 +0200", {"": "2015-11-30T01:02:03+02:00"}),
        ("31/02/2015", {}),
        ("2015-02-30", {}),
        ("May 2015", {}),
        ("soon", {}),
    ],
)
def test_dates_have_all_their_readings(text, readings):
    assert date_readings(text) == readings


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("42", {"": "42"}),
        ("1,234.50", {"point": "1234.50"}),
        ("1.234,50", {"comma": "1234.50"}),
        ("1,234", {"point": "1234", "comma": "1.234"}),
        ("1,23", {"comma": "1.23"}),
        ("1 234 567", {"": "1234567"}),
        ("-007", {"": "-7"}),
        ("(5)", {"": "-5"}),
        ("1.5e3", {"point": "1500"}),
        (".5", {"point": "0.5"}),
        ("12,34,567", {}),
        ("1.2.3", {}),
        ("5 kg", {}),
        ("", {}),
        ("--5", {"": "-5"}),
    ],
)
def test_numbers_have_all_their_readings(text, readings):
    assert number_readings(text) == readings


def column(values, **policy):
    table, rejections, (report,) = standardised(pa.table({"c": values}), [ColumnPolicy(column="c", **policy)])
    return table["c"].to_pylist(), rejections, report


def test_ambiguous_dates_follow_the_evidence_of_their_column():
    ambiguous, clear = ["01/02/2003", "5/5/2005"], ["25/12/2001", "31/1/2002", "13/06/2000"]
    values, _, report = column([*ambiguous, *clear], kind="date")
    assert values[:2] == ["2003-02-01", "2005-05-05"] and "3 values can only be day_first" in report.decided
    values, _, report = column([*ambiguous, *clear[:2]], kind="date")  # too little evidence
    assert values[:2] == ["01/02/2003", "2005-05-05"] and report.ambiguous == 1
    values, _, report = column([*ambiguous, *clear, "12/25/2001"], kind="date")  # evidence for both
    assert values[0] == "01/02/2003" and values[-1] == "2001-12-25" and report.decided.startswith("undecided")
    values, rejections, _ = column(ambiguous, kind="date", unreadable="reject")
    assert (
        values == ["2005-05-05"]
        and rejections[0]["reason"] == "ambiguous"
        and "2003-01-02 or" in rejections[0]["detail"]
    )
    assert column(ambiguous, kind="date", order="month_first")[0][0] == "2003-01-02"
    assert column(["soon", None], kind="date", unreadable="blank")[0] == [None, None]


def test_numbers_follow_the_evidence_and_keep_one_unit():
    values, _, report = column(["1,234", "0.5", "2.25", "3.125", "7.5"], kind="number")
    assert values[0] == "1234" and report.ambiguous == 0 and report.decided.startswith("point")
    assert column(["1,234", "5"], kind="number")[0] == ["1,234", "5"]
    assert column(["1,234", "5"], kind="number", decimal="comma")[0] == ["1.234", "5"]
    values, _, report = column(["$1,234.50", "$5"], kind="number")
    assert values == ["1234.50", "5"] and "'$'" in report.decided
    assert column(["$5", "€5"], kind="number")[2].unreadable == 2


def test_missing_values_by_policy():
    raw = ["3", "n/a", "1", None, "10", " "]
    assert column(raw, kind="number")[0] == ["3", None, "1", None, "10", None]
    assert column(raw, kind="number", missing="median")[0] == ["3", "3", "1", "3", "10", "3"]
    assert column(["a", "b", "b", "-"], kind="text", missing="mode")[0] == ["a", "b", "b", "b"]
    assert column(raw, kind="number", missing="fill_down")[0] == ["3", "3", "1", "1", "10", "10"]
    assert column(raw, kind="number", missing="constant", constant="0")[0][1] == "0"
    values, rejections, report = column(raw, kind="number", missing="drop")
    assert values == ["3", "1", "10"] and [item["row"] for item in rejections] == [1, 3, 5] and report.missing == 3
    for wrong in ({"missing": "constant"}, {"constant": "x"}, {"missing": "median"}):
        with pytest.raises(ValidationError):
            ColumnPolicy(column="c", kind="text", **wrong)
    with pytest.raises(UserError, match="'d'"):
        standardised(pa.table({"c": ["x"]}), [ColumnPolicy(column="d", kind="text")])


def test_two_date_columns_of_real_newspapers_agree():
    """UCSD_Guardian has each date twice, as 2/10/1994 and as 10-Feb-94: in standard form they must be the same."""
    with shared("openrefine/UCSD_Guardian.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    header = rows[0]
    pairs = [(row[header.index("Begin date")], row[header.index("Date:creation")]) for row in rows[1:]]
    table = pa.table({"begin": [a for a, _ in pairs], "creation": [b for _, b in pairs]})
    policies = [ColumnPolicy(column=name, kind="date", missing="drop") for name in ("begin", "creation")]
    out, rejections, reports = standardised(table, policies)
    assert out.num_rows + len(rejections) == len(pairs) and out.num_rows > 2500
    same = [a == b for a, b in zip(out["begin"].to_pylist(), out["creation"].to_pylist(), strict=True)]
    assert sum(same) / len(same) > 0.99, [report.decided for report in reports]
    assert reports[0].decided.startswith("month_first") and reports[1].decided.startswith("day_first")


@QUICK
@given(
    st.dates(date(1900, 1, 1), date(2049, 12, 31)),
    st.sampled_from(["%d/%m/%Y", "%d.%m.%Y", "%d %B %Y", "%B %d, %Y", "%Y-%m-%d", "%d-%b-%Y"]),
)
def test_a_printed_date_has_its_own_reading(day, form):
    assert day.isoformat() in date_readings(day.strftime(form)).values()


@QUICK
@given(
    st.lists(st.one_of(st.none(), st.text(max_size=12)), max_size=30),
    st.sampled_from(["text", "label", "number", "date"]),
)
def test_standard_forms_lose_no_row_and_are_stable(values, kind):
    policy = {"kind": kind, "unreadable": "reject", "missing": "drop"}
    out, rejections, report = column(pa.array(values, pa.string()), **policy)
    assert len(out) + len(rejections) == len(values) == report.rows
    again, rejected, _ = column(pa.array(out, pa.string()), **policy)
    assert again == out and not rejected
