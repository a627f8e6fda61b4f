"""The steps over a table, all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from llm_assets.cli import app
from llm_assets.data.table_config import TableConfig
from llm_assets.data.tabular import tidy_table
from llm_assets.errors import UserError


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
