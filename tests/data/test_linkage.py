"""Duplicate records, on real data with gold pairs."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pytest
from table_data import as_table, read

from llm_assets.data.linkage import Linkage, link_records
from llm_assets.data.stored import store_table
from llm_assets.data.table_config import LinkageConfig, TableConfig
from llm_assets.data.tabular import tidy_table
from llm_assets.errors import UserError


def linked(table: pa.Table, config: LinkageConfig) -> Linkage:
    with tempfile.TemporaryDirectory() as folder:
        return link_records(store_table(table, Path(folder) / "read.arrow"), config, map)


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
