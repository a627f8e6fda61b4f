"""Tables whose rows are put in order before they are documents: `tidy` of a source, through the acquisition."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from llm_assets.artifacts import DOCUMENTS, REJECTED, read_table
from llm_assets.data.acquire import acquire_documents
from llm_assets.data.config import Files
from llm_assets.data.sources.state import sources_state
from llm_assets.errors import UserError


def acquired(source: Files, folder: Path):
    """(documents, rejects, summary)."""
    out = folder / "out"
    out.mkdir(exist_ok=True)
    summary = acquire_documents([source], folder, out, root=folder)
    return read_table(out / DOCUMENTS).to_pylist(), read_table(out / REJECTED).to_pylist(), summary


@pytest.mark.parametrize("packed", [False, True])
def test_missing_values_dates_numbers_and_labels_by_policy(packed: bool, tmp_path: Path) -> None:
    rows = [
        ("the pump is loud", "Pumps", "25/12/1999", "1,5"),
        ("the pump leaks at night", "pumps ", "1/2/2000", "2,5"),
        ("a bill came twice", "Billing", "n/a", "3,5"),
        ("where is my order", "n/a", "13/3/2000", "4,5"),
        ("the bill is wrong", "Billing", "2000-04-30", "5,5"),
        ("the bill is too high", "Billing", "14.5.2000", "?"),
        ("the pump has stopped", "Pumps", "15/6/2000", "-"),
    ]
    lines = ["body;team;day;price", *(";".join(row) for row in rows)]
    content = "\n".join(line.replace(",", "\N{SINGLE LOW-9 QUOTATION MARK}") for line in lines)
    content = content.replace(";", "\t").replace("\N{SINGLE LOW-9 QUOTATION MARK}", ",") + "\nonly one field\n"
    name = "tickets.tsv.gz" if packed else "tickets.tsv"
    (tmp_path / name).write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    source = Files.model_validate({
        "paths": [name], "text_column": "body", "label_column": "team", "date_column": "day", "max_rejected_share": 0.2,
        "tidy": {"standardise": [
            {"column": "team", "kind": "label", "missing": "drop"},
            {"column": "day", "kind": "date", "missing": "constant", "constant": "1999-01-01"},
        ]},
    })  # fmt: skip
    documents, rejects, summary = acquired(source, tmp_path)
    assert [row["label"] for row in documents] == ["Pumps", "Pumps", "Billing", "Billing", "Billing", "Pumps"]
    assert [str(row["fetched_at"].date()) for row in documents] == [
        "1999-12-25", "2000-02-01", "1999-01-01", "2000-04-30", "2000-05-14", "2000-06-15"
    ]  # fmt: skip
    assert [row["steps"] for row in documents] == [[], ["tidy"], [], [], [], []]
    assert [(row["reason"], row["text"][:16], row["steps"]) for row in rejects] == [
        ("ragged", "only one field", []), ("missing", "where is my orde", ["tidy"])
    ]  # fmt: skip
    assert [row["uri"].rpartition("#")[2] for row in [*documents, *rejects]] == [*"123567", "8", "4"]
    metrics = summary.metrics
    assert (metrics["found"], metrics["rows"], metrics["rejected"], metrics["lost_rows"]) == (8, 6, 2, 0)
    assert (metrics["tidy_standardise_in"], metrics["tidy_standardise_kept"]) == (7, 6)
    assert metrics["tidy_standardise_changed"] > 5 and metrics["tidy_standardise_seconds"] >= 0
    shown = [sample["text"] for sample in summary.samples if sample["uri"].endswith("standardise")]
    assert "25/12/1999 → 1999-12-25" in shown and "pumps → Pumps" in shown


def test_what_tidy_leaves_out_is_no_bad_row(tmp_path: Path) -> None:
    """Nine of ten rows go by the source's own policy, which no share of unreadable rows bounds."""
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"text": f"t{n}", "x": n % 10 or None}) + "\n" for n in range(50))
    )
    policy = {"standardise": [{"column": "x", "kind": "text", "missing": "drop", "missing_texts": [*"123456789"]}]}
    source = Files.model_validate({"paths": ["a.jsonl"], "on_bad_rows": "fail", "tidy": policy})
    with pytest.raises(UserError, match=r"none of 50 rows can be used \(missing 50\)"):
        acquired(source, tmp_path)
    policy["standardise"][0]["missing"] = "keep"
    assert len(acquired(Files.model_validate({"paths": ["a.jsonl"], "tidy": policy}), tmp_path)[0]) == 50
    with (tmp_path / "a.jsonl").open("a") as stream:
        stream.write("{\n")
    with pytest.raises(UserError, match="line 51: not JSON"):
        acquired(source, tmp_path)


def test_a_row_with_half_a_character_is_rejected_before_the_steps(tmp_path: Path) -> None:
    """Whichever cell has it, and the name of a column too; a history can make one, which is no bad row."""
    rows = [{"text": f"text {n} \U0001f600", "x": n} for n in range(6)]
    odd: list[dict[str, object]] = [
        {"text": "a\ud800"},
        {"text": "b", "x": {"y": ["\udfff"]}},
        {"text": "c", "\ud83d": 1},
    ]
    lines = [json.dumps(row) + "\n" for row in [*rows[:3], *odd, *rows[3:]]]
    (tmp_path / "a.jsonl").write_text("".join(lines))
    tidy: dict[str, object] = {"standardise": [{"column": "x", "kind": "text", "missing": "drop"}], "repair": {}}
    source = Files.model_validate({"paths": ["a.jsonl"], "tidy": tidy, "max_rejected_share": 0.5})
    documents, rejects, _ = acquired(source, tmp_path)
    assert [row["text"] for row in documents] == [row["text"] for row in rows]
    assert [(row["reason"], row["text"], row["steps"]) for row in rejects] == [
        ("unicode", text, []) for text in ("a?", "b", "c")
    ]
    assert [row["detail"] for row in rejects] == [
        "text: half of a surrogate pair at character 1",
        "x: half of a surrogate pair at character 8",
        "half of a surrogate pair in the name of a column",
    ]
    with pytest.raises(UserError, match="half of a surrogate pair"):
        acquired(source.model_copy(update={"on_bad_rows": "fail"}), tmp_path)
    cut = {"op": "core/text-transform", "engineConfig": {"mode": "row-based", "facets": []}, "columnName": "text",
           "expression": "if(row.index == 2, value.substring(0, value.length() - 1), value + '.')",
           "onError": "keep-original", "repeat": False, "repeatCount": 0}  # fmt: skip
    (tmp_path / "h.json").write_text(json.dumps([cut]))
    source = Files.model_validate({
        "paths": ["a.jsonl"], "max_rejected_share": 0.4, "tidy": {"openrefine": str(tmp_path / "h.json")}
    })  # fmt: skip
    documents, rejects, _ = acquired(source, tmp_path)
    assert [row["text"] for row in documents] == [row["text"] + "." for n, row in enumerate(rows) if n != 2]
    assert [(row["reason"], row["steps"]) for row in rejects] == [
        ("openrefine", ["tidy"]), *[("unicode", [])] * 3
    ]  # fmt: skip
    assert rejects[0]["detail"] == "text: half of a surrogate pair at character 7"


def test_hospital_is_mended_on_the_way_in(real_data: Path, tmp_path: Path) -> None:
    path = real_data / "hospital" / "hospital.csv"
    columns = {"text_column": "MeasureName", "label_column": "Condition"}
    tidy: dict[str, object] = {"repair": {}}
    documents, _, summary = acquired(Files.model_validate({"paths": [str(path)], **columns, "tidy": tidy}), tmp_path)
    before, _, _ = acquired(Files.model_validate({"paths": [str(path)], **columns}), tmp_path)
    truth: dict[str, dict[int, str]] = {}
    with (real_data / "hospital" / "hospital_clean.csv").open() as stream:
        for row in csv.DictReader(stream):
            truth.setdefault(row["attribute"], {})[int(row["tid"])] = row["correct_val"]

    def wrong(rows: list[dict]) -> int:
        return sum(
            row[name] != truth[column][int(row["uri"].rpartition("#")[2]) - 1]
            for row in rows
            for name, column in (("text", "MeasureName"), ("label", "Condition"))
        )

    assert wrong(before) > 40 and wrong(documents) <= 2
    assert len([row for row in documents if row["steps"] == ["tidy"]]) >= wrong(before) - 2
    assert summary.metrics["tidy_repair_changed"] > 400
    assert summary.metrics["found"] == summary.metrics["rows"] == 1000


def test_duplicate_people_go_on_the_way_in(real_data: Path, tmp_path: Path) -> None:
    """febrl 1: 500 of 1,000 records are of a person who is there already."""
    columns = {"text_column": "address_1", "label_column": "rec_id"}
    tidy = {"deduplicate": {"columns": ["given_name", "surname", "street_number", "address_1", "suburb", "postcode",
                                        "state", "date_of_birth", "soc_sec_id"]}}  # fmt: skip
    source = Files.model_validate({"paths": [str(real_data / "febrl" / "dataset1.csv")], **columns, "tidy": tidy})
    with pytest.raises(UserError, match="no column 'given_name'"):  # its header has blanks behind the commas
        acquired(source, tmp_path)
    text = (real_data / "febrl" / "dataset1.csv").read_text().replace(", ", ",")
    (tmp_path / "people.csv").write_text(text)
    documents, rejects, summary = acquired(source.model_copy(update={"paths": ["people.csv"]}), tmp_path)
    people = {row["label"].split("-")[1] for row in documents}
    assert abs(len(documents) - 500) <= 5 and len(people) >= 495
    assert {row["reason"] for row in rejects} == {"duplicate"} and len(documents) + len(rejects) == 1000
    assert summary.metrics["tidy_deduplicate_kept"] == len(documents)


def test_a_history_makes_the_text_and_is_part_of_the_state(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title,body\nOne,of it\nTwo,of them\nDraft,no\n")
    operations = [
        {"op": "core/column-addition", "engineConfig": {"mode": "row-based", "facets": []}, "baseColumnName": "body",
         "newColumnName": "text", "columnInsertIndex": 2, "onError": "set-to-blank",
         "expression": "grel:cells['title'].value + ' ' + value"},
        {"op": "core/row-removal", "engineConfig": {"mode": "row-based", "facets": [
            {"type": "text", "name": "title", "columnName": "title", "query": "Draft", "mode": "text",
             "caseSensitive": True}]}},
    ]  # fmt: skip
    (tmp_path / "h.json").write_text(json.dumps(operations))
    source = Files.model_validate({"paths": ["a.csv"], "tidy": {"openrefine": "h.json"}})
    documents, rejects, _ = acquired(source, tmp_path)
    assert [row["text"] for row in documents] == ["One of it", "Two of them"]
    assert [(row["reason"], row["uri"]) for row in rejects] == [("openrefine", "file://a.csv#3")]
    before = sources_state([source], tmp_path, tmp_path)
    (tmp_path / "h.json").write_text(json.dumps(operations[:1]))
    assert sources_state([source], tmp_path, tmp_path) != before
    (tmp_path / "h.json").unlink()
    with pytest.raises(UserError, match=r"history .*h\.json cannot be read"):
        sources_state([source], tmp_path, tmp_path)


def test_wrong_uses_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a text\n")
    (tmp_path / "a.csv").write_text("text\na\n")
    with pytest.raises(UserError, match=r"a\.txt: no table, so `tidy` has nothing to do"):
        acquired(Files.model_validate({"paths": ["a.txt"], "tidy": {}}), tmp_path)
    policy = {"standardise": [{"column": "day", "kind": "date"}]}
    with pytest.raises(UserError, match="no column 'day' to standardise; there are text"):
        acquired(Files.model_validate({"paths": ["a.csv"], "tidy": policy}), tmp_path)
    with pytest.raises(ValidationError, match="colum"):
        Files.model_validate({"paths": ["a.csv"], "tidy": {"standardise": [{"colum": "day"}]}})
