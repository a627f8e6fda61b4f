"""The profile of any table: exact counts, however it is cut; types, patterns, spellings, suggestions on real data."""

from __future__ import annotations

import csv
import gzip
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_assets.data.profile_counts import Counts, Numbers
from llm_assets.data.profile_labels import near_spellings, one_edit
from llm_assets.data.profile_patterns import LONGEST, pattern_keys, pattern_of, pattern_regex
from llm_assets.data.profile_suggest import accepted, one_line, roles, suggestions
from llm_assets.data.profile_table import profile_file, profile_table, read_batches
from llm_assets.errors import UserError
from llm_assets.recipe import RECIPES, Recipe

texts = st.one_of(
    st.none(),
    st.sampled_from(
        ["", " ", "a", "A ", "12", "-3.5", "1e400", "n/a", "x@y.org", "http://a.b", "2024-02-30", "[1]", "\x00"]
    ),
    st.text(max_size=80),
)


def some(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.one_of(st.none(), values), min_size=1, max_size=60)


columns = st.one_of(
    st.lists(texts, min_size=1, max_size=60).map(lambda v: pa.array(v, pa.string())),
    some(st.floats()).map(lambda v: pa.array(v, pa.float64())),
    some(st.integers(-5, 2**62)).map(lambda v: pa.array(v, pa.int64())),
    some(st.booleans()).map(lambda v: pa.array(v, pa.bool_())),
    some(st.lists(texts, max_size=3)).map(
        lambda v: pa.array(v, pa.list_(pa.string()))
    ),
    some(st.dates()).map(lambda v: pa.array(v, pa.date32())),
    some(st.binary(max_size=5)).map(lambda v: pa.array(v, pa.binary())),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(st.lists(columns, min_size=1, max_size=3), st.integers(1, 20))
def test_counts_add_up_and_do_not_depend_on_the_batches(parts: list[pa.Array], size: int) -> None:
    rows = min(map(len, parts))
    table = pa.table({f"c{n}": column.slice(0, rows) for n, column in enumerate(parts)})
    whole = profile_table(table.to_batches())
    for name, column in whole["columns"].items():
        assert column["valid"] + column["mismatched"] + column["missing"] == column["rows"] == whole["rows"] == rows
        assert min(column["valid"], column["mismatched"], column["missing"]) >= 0
        assert column["missing"] >= table[name].null_count
    assert whole == profile_table(table.to_batches(max_chunksize=size))
    json.dumps(whole)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=12).filter(str.strip), min_size=1, max_size=80))
def test_distinct_and_frequent_values_are_exact(values: list[str]) -> None:
    column = profile_table([pa.record_batch({"x": values})])["columns"]["x"]
    counts = Counter(values)
    assert column["distinct"] == len(counts)
    assert column["once"] == sum(n == 1 for n in counts.values())
    assert all(counts[text] == n for text, n in column["top"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=LONGEST), min_size=1, max_size=30))
def test_values_share_a_key_exactly_when_they_share_a_pattern(values: list[str]) -> None:
    keys = pattern_keys(pa.array(["", *values], pa.string()).slice(1))
    by_key: dict[int, set[str]] = {}
    for key, value in zip(keys.tolist(), values, strict=True):
        by_key.setdefault(key, set()).add(pattern_of(value))
    assert all(len(patterns) == 1 for patterns in by_key.values())
    assert len(by_key) == len({pattern_of(value) for value in values})


@settings(max_examples=150, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=30))
def test_a_pattern_as_a_rule_matches_its_value(value: str) -> None:
    import pyarrow.compute as pc

    assert pc.match_substring_regex(pa.array([value]), pattern_regex(value))[0].as_py()


def test_patterns_read_as_trifactas_do() -> None:
    assert [pattern_of(value) for value in ("Anna 1999", "GB29 NWBK", "2024-01-31", "b+{c}", "Ärzte", "x")] == [
        "Aa+ 9{4}", "A{2}9{2} A{4}", "9{4}-9{2}-9{2}", r"a\+\{a\}", "Aa+", "a",
    ]  # fmt: skip


def test_counts_stay_exact_when_they_go_to_disk() -> None:
    rng = np.random.default_rng(1)
    counts, wanted = Counts(held=500, candidates=50), Counter[int]()
    for _ in range(40):
        drawn = np.concatenate([rng.integers(0, 2**63, 200, dtype=np.uint64), np.full(30, 7), np.full(9, 2**63)])
        keys, sums = np.unique(drawn.astype(np.uint64), return_counts=True)
        counts.add(keys, sums, pa.array([str(key) for key in keys]))
        wanted.update(drawn.astype(np.uint64).tolist())
    found = counts.finish()
    assert found.distinct == len(wanted)
    assert found.once == sum(n == 1 for n in wanted.values())
    assert found.frequent == [("7", 1200), (str(2**63), 360)]
    assert not found.complete


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300), st.integers(1, 50))
def test_numbers_lose_little_and_never_by_the_batch(values: list[float], size: int) -> None:
    one, many = Numbers(held=40), Numbers(held=40)
    one.add(np.array(values), np.ones(len(values), np.int64))
    for start in range(0, len(values), size):
        some = np.array(values[start : start + size])
        many.add(some, np.ones(some.size, np.int64))
    one.merge()
    many.merge()
    assert np.array_equal(one.values, many.values) and np.array_equal(one.counts, many.counts)
    assert one.counts.sum() == len(values) and one.values.size <= 40
    assert (one.low, one.high) == (min(values), max(values))


TYPES = {
    "integer": ["1", "-20", "1,200", "7"],
    "decimal": ["1.5", "-2", "3e4", ".5"],
    "boolean": ["yes", "No", "yes", "YES"],
    "date": ["2024-01-31", "31/12/1999", "5 May 2020", "Jan 3, 2021"],
    "time": ["12:30", "23:59:59", "7:05 pm", "00:00"],
    "date and time": ["2024-01-31T12:00:00Z", "2024-01-31 12:00", "1/2/2020 03:04", "2020-05-05 10:00:00+02:00"],
    "e-mail": ["a@b.org", "x.y+z@mail.example.com", "q@r.de", "s@t.io"],
    "url": ["https://a.b/c?d", "http://localhost:3000", "www.example.org/", "ftp://x/y"],
    "ip": ["127.0.0.1", "10.0.0.255", "::1", "fe80::1:2"],
    "phone": ["+49 30 123456", "(020) 7946 0018", "555-123-4567", "+1-202-555-0143"],
    "percentage": ["5%", "97.5 %", "-3%", "100%"],
    "currency": ["$5", "€ 1,200.50", "3 €", "£9.99"],
    "uuid": [f"{n:08x}-1234-4abc-8def-0123456789ab" for n in range(4)],
    "list": ["[1, 2]", "[]", '["a"]', "[[1]]"],
}


@pytest.mark.parametrize("kind", TYPES)
def test_types_are_told_by_the_values(kind: str) -> None:
    values = TYPES[kind] * 10 + ["", "??? ***"]
    column = profile_table([pa.record_batch({"x": values})])["columns"]["x"]
    if kind in ("boolean", "list"):  # what could as well be text has to be all of it
        column = profile_table([pa.record_batch({"x": values[:-1]})])["columns"]["x"]
        assert (column["type"], column["mismatched"], column["missing"]) == (kind, 0, 1)
        return
    assert (column["type"], column["valid"], column["mismatched"], column["missing"]) == (kind, 40, 1, 1)
    assert column["examples"] == [["??? ***", 1]]
    assert column["evidence"] == pytest.approx(40 / 41, abs=1e-5)


def test_hospital(real_data: Path) -> None:
    report = profile_file(real_data / "hospital" / "hospital.csv")
    kinds = {name: column["type"] for name, column in report["columns"].items()}
    expected = {"ProviderNumber": "identifier", "City": "category", "ZipCode": "identifier", "PhoneNumber": "phone",
                "Score": "percentage", "Address2": "empty", "EmergencyService": "category"}  # fmt: skip
    assert expected.items() <= kinds.items()
    clean: dict[str, list[str]] = {}
    with (real_data / "hospital" / "hospital_clean.csv").open() as stream:
        for row in csv.DictReader(stream):
            clean.setdefault(row["attribute"], []).append(row["correct_val"])
    with (real_data / "hospital" / "hospital.csv").open() as stream:
        dirty = list(csv.DictReader(stream))
    right = wrong = 0
    for name, column in report["columns"].items():
        for item in column["spellings"]:
            for label, _ in item["merge"]:
                for row, truth in zip(dirty, clean[name], strict=True):
                    if row[name] == label:
                        right, wrong = right + (truth == item["keep"]), wrong + (truth != item["keep"])
    assert right >= 130 and wrong == 0
    # What does not fit a type is an error indeed: each mismatched value differs from its correct one.
    for name in ("ZipCode", "PhoneNumber", "ProviderNumber", "Score"):
        errors = sum(row[name] != truth for row, truth in zip(dirty, clean[name], strict=True) if row[name])
        assert 0 < report["columns"][name]["mismatched"] <= errors


def test_sms_spam(real_data: Path) -> None:
    report = profile_file(real_data / "sms_spam" / "sms.tsv", header=False)
    label, text = report["columns"].values()
    assert report["rows"] == 5574 and not report["unread"]
    assert dict(map(tuple, label["histogram"])) == {"ham": 4827, "spam": 747}
    assert (label["type"], text["type"]) == ("category", "text")
    assert roles(report["columns"]) == ("f1", "f0")
    rules = {key for item in suggestions(report) if item["recipe"] for key in yaml.safe_load(item["recipe"])["data"]}
    assert {"clean", "balance"} <= rules


def test_febrl(real_data: Path) -> None:
    report = profile_file(real_data / "febrl" / "dataset1.csv")
    found = report["columns"]
    assert report["keys"] == ["rec_id"]
    assert found["date_of_birth"]["type"] == "date" and found["date_of_birth"]["mismatched"] == 3
    assert found["date_of_birth"]["histogram"][0] == ["1900 to 1909", 100]
    assert found["soc_sec_id"]["patterns"][0][:2] == ["9{7}", 1000]
    assert found["given_name"]["missing"] == 44 and found["surname"]["spaces"] == 982


def test_chinook(real_data: Path, tmp_path: Path) -> None:
    database = sqlite3.connect(f"file:{real_data / 'chinook' / 'Chinook_Sqlite.sqlite'}?mode=ro", uri=True)
    names = [row[0] for row in database.execute("select name from sqlite_master where type = 'table' order by name")]
    assert len(names) >= 11
    kinds = {}
    for name in names:
        rows = database.execute(f'select * from "{name}"')
        with (tmp_path / f"{name}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow([column[0] for column in rows.description])
            writer.writerows(rows)
        report = profile_file(tmp_path / f"{name}.csv")
        assert report["rows"] == database.execute(f'select count(*) from "{name}"').fetchone()[0]
        for column, found in report["columns"].items():
            kinds[f"{name}.{column}"] = found["type"]
            wanted = database.execute(f'select count(distinct "{column}") from "{name}" where "{column}" <> \'\'')
            assert found["distinct"] == wanted.fetchone()[0], (name, column)
    expected = {"Customer.Email": "e-mail", "Customer.Phone": "phone", "Invoice.InvoiceDate": "date and time",
                "Track.Milliseconds": "integer", "Invoice.Total": "decimal", "Track.TrackId": "identifier",
                "Customer.Country": "category"}  # fmt: skip
    assert {name: kinds[name] for name in expected} == expected


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    table = pa.table({"text": ["one, two", 'say "no"', "line\nbreak", "ünï"] * 5, "n": ["1", "2", "x", "4"] * 5})
    pq.write_table(table, tmp_path / "t.parquet")
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([table.column_names, *zip(*table.to_pydict().values(), strict=True)])
    lines = "".join(json.dumps(row) + "\n" for row in table.to_pylist())
    (tmp_path / "t.jsonl").write_text(lines + "[1]\nnot json\n")
    (tmp_path / "u.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    reports = [profile_file(tmp_path / name) for name in ("t.parquet", "t.csv", "t.jsonl", "u.jsonl.gz")]
    assert reports[2].pop("unread") == {"not JSON": 1, "not a JSON object": 1}
    assert all(report.get("unread", {}) == {} for report in reports)
    assert len({json.dumps({**report, "unread": 0}, sort_keys=True) for report in reports}) == 1


def test_lines_that_are_no_rows_are_counted(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(" a ;b;b\n1;2;3\n1;2\n4;5;6;7\n8;9;\n")
    report = profile_file(tmp_path / "r.csv")
    assert report["rows"] == 2
    assert report["unread"] == {"2 fields where 3 are expected": 1, "4 fields where 3 are expected": 1}
    assert list(report["columns"]) == ["a", "b", "b (3)"]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("t.xls", b"x", "unknown format"),
        ("t.parquet", b"not parquet", "cannot be read as parquet"),
        ("t.csv", b"a\n\xff\xfe\n", "cannot be read as csv"),
        ("t.csv", b"", "cannot be read as csv"),
        ("t.jsonl", b"", "holds no rows"),
        ("t.jsonl.gz", b"\x1f\x8b broken", "cannot be read as jsonl"),
    ],
)
def test_what_cannot_be_read_says_so(tmp_path: Path, name: str, content: bytes, says: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=says):
        profile_file(tmp_path / name)


def test_spellings_of_one_label() -> None:
    counts = [("refund", 100), ("Refund", 9), ("refnud", 3), ("card payment", 60), ("Card, payment", 2), ("cart", 40),
              ("card", 41), ("model 1", 30), ("model 2", 3), ("payment card", 1), ("paymemt card", 1)]  # fmt: skip
    found = {item["keep"]: dict(item["merge"]) for item in near_spellings(counts)}
    assert found == {
        "refund": {"Refund": 9, "refnud": 3},
        "card payment": {"Card, payment": 2, "payment card": 1, "paymemt card": 1},
    }
    assert one_edit("abc", "acb") and one_edit("abc", "ab") and one_edit("abc", "axc") and not one_edit("abc", "cba")


def test_every_suggestion_loads_through_the_recipe(real_data: Path, tmp_path: Path) -> None:
    rows = ["text,label"]
    rows += [
        f"please help me with order number {n} of last week x{n}@mail.org,{'rare' if n % 40 == 0 else 'order'}"
        for n in range(400)
    ]
    (tmp_path / "orders.csv").write_text("\n".join([*rows, *["n/a,order"] * 9]) + "\n")
    loaded = 0
    for path, header in [(tmp_path / "orders.csv", True), (real_data / "sms_spam" / "sms.tsv", False)]:
        report = profile_file(path, header=header)
        for item in suggestions(report, source={"paths": [str(path)]}):
            if item["recipe"]:
                recipe = yaml.safe_load(item["recipe"])
                assert recipe == yaml.safe_load(one_line(item["recipe"]))
                document = yaml.safe_load((RECIPES / "demo.yaml").read_text())
                for key, value in recipe["data"].items():
                    section = document["data"].get(key)
                    document["data"][key] = {**section, **value} if isinstance(section, dict) else value
                Recipe.model_validate(document)
                loaded += 1
    assert loaded >= 6
    assert not accepted({"data": {"clean": {"no_such_key": 1}}})
    assert not accepted({"data": {"balance": {"power": 3}}})


def test_suggested_standard_forms_do_what_they_say(real_data: Path, tmp_path: Path) -> None:
    """Pasted into a recipe and run: what was wrong is gone, and hospital's truth is not further away than before."""
    from llm_assets.data.config import DataConfig
    from llm_assets.data.tabular import tidy_table

    for name in ("hospital/hospital.csv", "febrl/dataset1.csv"):
        path = real_data / name
        before = profile_file(path)
        standard = [item for item in suggestions(before) if "standardise" in item["recipe"]]
        data = yaml.safe_load(standard[0]["recipe"])["data"]
        config = DataConfig.model_validate({"sources": [{"kind": "feedback"}], **data})
        table = pa.Table.from_batches(read_batches(path, lambda reason: None))
        tidy, rejected, _ = tidy_table(table, config.table, tmp_path)
        assert not rejected.num_rows
        after = profile_table(tidy.to_batches())["columns"]
        for policy in config.table.standardise:
            old, new = before["columns"][policy.column], after[policy.column]
            assert new["spaces"] == 0 and new["placeholders"] == []
            assert new["distinct"] < old["distinct"] or policy.kind == "text" or old["spaces"]
            if policy.kind in ("number", "date"):
                assert new["mismatched"] == 0
        if name.startswith("hospital"):
            truth: dict[str, list[str]] = {}
            with (real_data / "hospital" / "hospital_clean.csv").open() as stream:
                for row in csv.DictReader(stream):
                    truth.setdefault(row["attribute"], []).append(row["correct_val"])
            for policy in config.table.standardise:
                if policy.kind == "label":
                    wanted = [" ".join(value.split()) for value in truth[policy.column]]
                    cells = [[" ".join(value.split()) for value in t[policy.column].to_pylist()] for t in (table, tidy)]
                    right = [sum(a == b for a, b in zip(column, wanted, strict=True)) for column in cells]
                    assert right[1] > right[0]
