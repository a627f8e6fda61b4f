"""Tables: spellings of labels, duplicate records, standard forms, missing values, repairs. Real data and gold."""

from __future__ import annotations

import csv
import json
import os
import tempfile
from collections import Counter, defaultdict
from datetime import date
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from llm_assets.artifacts import DOCUMENTS, write_table
from llm_assets.cli import app
from llm_assets.data.clean import clean_documents, clean_table
from llm_assets.data.config import CleanConfig, NearDuplicateConfig
from llm_assets.data.keyers import clusters_by_distance, clusters_by_key, fingerprint, ngram_fingerprint
from llm_assets.data.labels import merge_labels
from llm_assets.data.linkage import Linkage, link_records
from llm_assets.data.readings import date_readings, number_readings
from llm_assets.data.repair import Repairs, find_repairs, repair
from llm_assets.data.rows import documents_table
from llm_assets.data.standardise import standardise
from llm_assets.data.stored import Storing, store_table
from llm_assets.data.table_config import ColumnPolicy, LabelsConfig, LinkageConfig, RepairConfig, TableConfig
from llm_assets.data.tabular import tidy_table
from llm_assets.errors import UserError

SHARED = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
QUICK = settings(max_examples=100, deadline=None)


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not in {SHARED}; set LLM_ASSETS_TEST_DATA")
    return path


def read(name: str) -> list[dict[str, str]]:
    with shared(name).open(newline="", encoding="utf-8-sig") as stream:
        return list(csv.DictReader(stream, skipinitialspace=True))


def as_table(rows: list[dict[str, str]], columns: list[str]) -> pa.Table:
    return pa.table({name: pa.array([row[name] or None for row in rows], pa.string()) for name in columns})


def linked(table: pa.Table, config: LinkageConfig) -> Linkage:
    with tempfile.TemporaryDirectory() as folder:
        return link_records(store_table(table, Path(folder) / "read.arrow"), config, map)


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


def repaired(table: pa.Table, config: RepairConfig):
    """(table, report, what was repaired as (row, column, before, after))."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        read = store_table(table, folder / "read.arrow")
        out, report = repair(read, config, folder / "out.arrow", map)
        found: dict[str, Repairs] = find_repairs(read, config, folder, map)[1]
        cells = [
            (row, column, table[column][row].as_py(), after)
            for column, repairs in found.items()
            for row, after in zip(repairs.rows.tolist(), repairs.column.texts_of(repairs.after), strict=True)
        ]
        return out.table(), report, cells


# ---- spellings ----------------------------------------------------------------------------------------------------


def test_keys_join_spellings():
    assert fingerprint(" Café  de la Paix ") == fingerprint("paix, CAFE de-la".replace("-", " ")) == "cafe de la paix"
    assert fingerprint("Straße") == fingerprint("STRASSE") and fingerprint("C++") != fingerprint("C")
    assert ngram_fingerprint("word press") == ngram_fingerprint("WordPress") and ngram_fingerprint("a") == "a"
    counts = {"New York": 5, "new york": 7, "York, New": 1, "Boston": 2}
    assert clusters_by_key(counts) == [["new york", "New York", "York, New"]]


def test_distance_joins_near_spellings_and_never_digits_or_short_ones():
    counts = {"colour": 9, "color": 4, "cat": 5, "cut": 5, "version 10": 3, "version 11": 3, "colours": 1, "kolours": 1}
    assert clusters_by_distance(counts) == [["colour", "color", "colours"]]
    assert clusters_by_distance(counts, radius=2) == [["colour", "color", "colours", "kolours"]]


@QUICK
@given(
    st.dictionaries(st.text(max_size=8), st.integers(1, 9), max_size=20),
    st.sampled_from([clusters_by_key, clusters_by_distance]),
)
def test_clusters_are_a_partition_led_by_the_most_frequent(counts, cluster):
    groups = cluster(counts)
    values = [value for group in groups for value in group]
    assert len(values) == len(set(values)) and set(values) <= set(counts)
    assert all(counts[group[0]] == max(counts[value] for value in group) and len(group) > 1 for group in groups)
    assert cluster(dict(reversed(counts.items()))) == groups


def test_labels_become_their_most_frequent_spelling():
    labels = ["Sport"] * 5 + ["sport "] * 2 + ["SPORT!"] + ["Bussiness"] + ["Business"] * 4 + [None, "Q1", "Q2"]
    table = pa.table({"label": labels})
    merged, merges = merge_labels(table, LabelsConfig(merge="fingerprint"))
    assert Counter(merged["label"].to_pylist()) == {
        "Sport": 8,
        "Business": 4,
        "Bussiness": 1,
        None: 1,
        "Q1": 1,
        "Q2": 1,
    }
    assert [(merge.label, merge.spellings) for merge in merges] == [("Sport", {"SPORT!": 1, "sport ": 2})]
    near, merges = merge_labels(table, LabelsConfig(merge="levenshtein"))
    assert Counter(near["label"].to_pylist())["Business"] == 5 and len(merges) == 2
    assert merge_labels(table, LabelsConfig())[0] is table
    languages = pa.table({"label": ["C", "C#", "C++", "c", "R", "r"]})
    kept = merge_labels(languages, LabelsConfig(merge="levenshtein"))[0]["label"].to_pylist()
    assert kept == ["C", "C#", "C++", "C", "R", "R"]


def test_clean_merges_labels_and_shows_them(tmp_path):
    rows = [
        {"id": f"{n}", "text": f"document number {n} speaks of the {word} and of nothing else", "label": label}
        | {"source": "t", "uri": f"t:{n}", "content_hash": "x", "parents": [], "steps": []}
        for n, (word, label) in enumerate(
            [("sea", "Sea"), ("shore", "Sea"), ("waves", "sea"), ("sky", "Sky"), ("sun", None)]
        )
    ]
    config = CleanConfig(
        labels={"merge": "fingerprint"},
        min_chars=5,
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    raw = documents_table(rows)
    kept, rejected = clean_table(raw, config)
    assert kept["label"].to_pylist() == ["Sea", "Sea", "Sea", "Sky", None] and rejected.num_rows == 0
    assert [("labels" in steps) for steps in kept["steps"].to_pylist()] == [False, False, True, False, False]
    write_table(raw, tmp_path / DOCUMENTS)
    (tmp_path / "out").mkdir()
    summary = clean_documents(tmp_path, tmp_path / "out", config)
    assert summary.bars["Labels merged"] == {"sea → Sea": 1.0}
    assert summary.metrics["labels_changed"] == 1 and summary.metrics["lost_rows"] == 0


# ---- duplicate records --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "gold_pairs"), [("dataset1", 500), ("dataset2", 1934)])
def test_febrl_duplicates_are_found(name, gold_pairs):
    rows = read(f"febrl/{name}.csv")
    columns = [column for column in rows[0] if column != "rec_id"]
    groups = defaultdict(list)
    for place, row in enumerate(rows):
        groups[row["rec_id"].split("-")[1]].append(place)
    gold = {pair for group in groups.values() for pair in combinations(group, 2)}
    assert len(gold) == gold_pairs
    report = linked(as_table(rows, columns), LinkageConfig(threshold=0.5))
    scored = list(zip(report.left.tolist(), report.right.tolist(), report.scores.tolist(), strict=True))
    f1 = {}
    for threshold in (0.5, 0.6, LinkageConfig().threshold, 0.75):  # the default is no lucky point
        found = {(left, right) for left, right, score in scored if score >= threshold}
        f1[threshold] = 2 * len(found & gold) / (len(found) + len(gold))
    assert min(f1.values()) >= 0.95, f1
    assert f1[LinkageConfig().threshold] >= 0.99, f1
    kept = len(rows) - len(linked(as_table(rows, columns), LinkageConfig()).dropped)
    assert abs(kept - len(groups)) <= 0.005 * len(rows)


def test_the_fullest_record_stays_and_columns_are_named():
    table = pa.table(
        {"name": ["ann lee", "ann lee", "bob"], "city": [None, "bern", "bern"], "phone": ["12345", "12345", "999"]}
    )
    kept, rejected, _ = tidy_table(table, TableConfig(deduplicate=LinkageConfig()), Path())
    assert kept["city"].to_pylist() == ["bern", "bern"] and rejected["detail"].to_pylist() == ["same as row 2"]
    report = linked(table, LinkageConfig())
    assert (report.dropped.tolist(), report.stays.tolist(), report.groups) == ([0], [1], 1)
    with pytest.raises(UserError, match="'nope'"):
        linked(table, LinkageConfig(columns=["nope"]))
    assert len(linked(table.slice(0, 0), LinkageConfig()).left) == 0


# ---- standard forms -----------------------------------------------------------------------------------------------


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


# ---- repairs ------------------------------------------------------------------------------------------------------


def test_hospital_repairs_are_right():
    dirty = read("hospital/hospital.csv")
    truth = {(int(row["tid"]), row["attribute"]): row["correct_val"] for row in read("hospital/hospital_clean.csv")}
    errors = {key for key, value in truth.items() if dirty[key[0]][key[1]] != value}
    table = as_table(dirty, list(dirty[0]))
    mended, report, cells = repaired(table, RepairConfig())
    right = [cell for cell in cells if truth[cell[0], cell[1]] == cell[3]]
    precision, recall = len(right) / len(cells), len(right) / len(errors)
    assert len(errors) == 509 and precision >= 0.95 and recall >= 0.90, (precision, recall)
    changed = {
        (row, name, a, b)
        for name in table.schema.names
        for row, (a, b) in enumerate(zip(table[name].to_pylist(), mended[name].to_pylist(), strict=True))
        if a != b
    }
    assert changed == set(cells)
    assert sum(report.counts.values()) == len(cells) and len(report.samples) == 12
    assert repaired(table, RepairConfig())[1:] == (report, cells)


def test_a_clean_table_stays_as_it_is():
    truth = read("hospital/hospital_clean.csv")
    columns: dict[str, list[str | None]] = defaultdict(list)
    for row in truth:
        columns[row["attribute"]].append(row["correct_val"] or None)
    cells = repaired(pa.table(columns), RepairConfig())[2]
    assert len(cells) <= 0.001 * len(truth), cells
    assert repaired(pa.table({"n": [1, 2], "s": ["a", None]}), RepairConfig())[2] == []
    assert repaired(pa.table({"s": pa.array([], pa.string())}), RepairConfig())[2] == []


CELLS = st.one_of(st.none(), st.sampled_from(["a", "b", "ab", "100", "1x0", ""]))


@QUICK
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), max_size=40))
def test_repairs_never_touch_blanks_nor_make_new_values(rows):
    columns = {name: [row[n] for row in rows] for n, name in enumerate("xyz")}
    table = pa.table({name: pa.array(cells, pa.string()) for name, cells in columns.items()})
    mended, _, cells = repaired(table, RepairConfig(min_frequent=3))
    for row, name, before, after in cells:
        assert before and after in columns[name] and mended[name][row].as_py() == after


# ---- all of it ----------------------------------------------------------------------------------------------------


def test_a_table_goes_through_all_steps_and_no_row_is_lost(tmp_path, monkeypatch):
    history = [
        {
            "op": "core/row-removal",
            "engineConfig": {
                "mode": "row-based",
                "facets": [
                    {
                        "type": "text",
                        "name": "f",
                        "columnName": "name",
                        "query": "test",
                        "mode": "text",
                        "caseSensitive": False,
                    }
                ],
            },
        }
    ]
    (tmp_path / "h.json").write_text(json.dumps(history))
    people = [
        ("Ann Lee", "25/12/1980"),
        ("Bob Ray", "1/2/1981"),
        ("ann  lee", "1980-12-25"),
        ("test", ""),
        ("Cy", "n/a"),
    ]
    people += [("Di Fox", "31/1/1990"), ("Ed Orr", "30/6/1991")]
    (tmp_path / "t.csv").write_text("name,born\n" + "".join(f"{a},{b}\n" for a, b in people))
    config = TableConfig.model_validate({
        "openrefine": "h.json",
        "standardise": [{"column": "name", "kind": "text"}, {"column": "born", "kind": "date", "missing": "drop"}],
        "repair": {}, "deduplicate": {},
    })  # fmt: skip
    raw = pa.table({"name": [a for a, _ in people], "born": [b or None for _, b in people]})
    kept, rejected, reports = tidy_table(raw, config, tmp_path)
    assert kept["born"].to_pylist() == ["1980-12-25", "1981-02-01", "1990-01-31", "1991-06-30"]
    assert [tuple(row.values())[0::2] for row in rejected.to_pylist()] == [
        ("ann  lee", "duplicate"), ("test", "openrefine"), ("Cy", "missing")
    ]  # fmt: skip
    assert [(report.rows_in, report.rows_out) for report in reports] == [(7, 6), (6, 5), (5, 5), (5, 4)]
    monkeypatch.chdir(tmp_path)
    command = ["tidy-table", "t.csv", "-o", "out.csv", "--rejected", "gone.csv"]
    for name, value in config.model_dump(mode="json", exclude_unset=True).items():
        command += ["--set", f"data.table.{name}={json.dumps(value)}"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.exception
    assert Path("out.csv").read_text().splitlines()[1] == "Ann Lee,1980-12-25"
    assert len(Path("gone.csv").read_text().splitlines()) == 4
    with pytest.raises(UserError, match="names no step"):
        CliRunner().invoke(app, command[:4], catch_exceptions=False)
