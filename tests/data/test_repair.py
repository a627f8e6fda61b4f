"""Repairs of cells, on real data with the truth."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from table_data import as_table, read

from llm_assets.data.repair import Repairs, find_repairs, repair
from llm_assets.data.stored import store_table
from llm_assets.data.table_config import RepairConfig

QUICK = settings(max_examples=100, deadline=None)


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
