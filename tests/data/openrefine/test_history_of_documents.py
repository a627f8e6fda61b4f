"""A history as the first step of `clean`."""

from __future__ import annotations

import json
import random

import pytest
from histories import faceted, listed, transform

from llm_assets.artifacts import DOCUMENTS as DOCUMENTS_FILE
from llm_assets.artifacts import REJECTED
from llm_assets.data import clean_passes
from llm_assets.data.clean import clean_batches, clean_state, clean_table
from llm_assets.data.config import CleanConfig, NearDuplicateConfig
from llm_assets.data.openrefine.documents import replay_alone
from llm_assets.data.rows import documents_table, text_hash
from llm_assets.errors import UserError

DOCUMENTS = [
    ("colour  of the sky is blue today and every day", "Sky"),
    ("grass is green and grows in the wet garden", "sky "),
    ("drop this document because it is only a draft", "grass"),
]


def documents():
    return documents_table(
        [
            {"id": text_hash(str(n)), "text": text, "label": label, "source": "t", "uri": f"t:{n}", "content_hash": "x"}
            | {"parents": [], "steps": []}
            for n, (text, label) in enumerate(DOCUMENTS)
        ]
    )


def test_clean_replays_a_history_over_the_documents(tmp_path):
    history = tmp_path / "h.json"
    draft = {
        "type": "text",
        "name": "t",
        "columnName": "text",
        "query": "draft",
        "mode": "text",
        "caseSensitive": False,
    }
    operations = [
        transform("text", "value.replace('colour', 'color')"),
        transform("label", "value.trim().toLowercase()"),
        {"op": "core/row-removal", "description": "no drafts", **faceted(draft)},
    ]
    history.write_text(json.dumps(operations))
    config = CleanConfig(
        openrefine=str(history),
        min_chars=5,
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    kept, rejected = clean_table(documents(), config)
    assert [text.split()[0] for text in kept["text"].to_pylist()] == ["color", "grass"]
    assert kept["label"].to_pylist() == ["sky", "sky"]
    assert all("openrefine" in steps for steps in kept["steps"].to_pylist())
    assert rejected["reason"].to_pylist() == ["openrefine"] and rejected["text"].to_pylist() == [DOCUMENTS[2][0]]
    before = clean_state(config)
    history.write_text(json.dumps(operations[:1]))
    assert clean_state(config) != before and clean_state(CleanConfig()) == ""
    for empty in (operations, [{"op": "core/row-reorder", "mode": "row-based"}]):
        history.write_text(json.dumps(empty))
        assert [table.num_rows for table in clean_table(documents().slice(0, 0), config)] == [0, 0]
    history.write_text(json.dumps([{"op": "core/transpose-rows-into-columns", "columnName": "text", "rowCount": 2}]))
    with pytest.raises(UserError, match="keep each row one row"):
        clean_table(documents(), config)
    history.write_text(json.dumps([{"op": "core/column-removal", "columnName": "text"}]))
    with pytest.raises(UserError, match="without the column 'text'"):
        clean_table(documents(), config)


@pytest.mark.parametrize("waits", ["nothing", "row-reorder", "column-split", "records"])
def test_a_history_over_many_documents_does_not_depend_on_batches(tmp_path, monkeypatch, waits):
    """Rows keep their provenance and none is lost, whether operations stream or wait, in batches of any size."""
    words = ["river", "stone", "market", "window", "letter", "garden", "engine", "bridge"]
    drawn = random.Random(5)
    rows = [
        {"id": text_hash(str(n)), "text": " ".join(drawn.choices(words, k=14)) + f" {n}", "label": drawn.choice("xy")}
        | {"source": f"s{n % 3}", "uri": f"t:{n}", "content_hash": "x", "parents": [], "steps": []}
        for n in range(400)
    ]
    facet = {
        "type": "text",
        "name": "t",
        "columnName": "text",
        "query": "^river",
        "mode": "regex",
        "caseSensitive": True,
    }
    operations = [transform("text", "value.toUppercase() + row.index"), {"op": "core/row-removal", **faceted(facet)}]
    operations = operations[::-1]
    criterion = {"column": "label", "valueType": "text", "reverse": False, "caseSensitive": True}
    if waits == "row-reorder":
        operations.append({"op": "core/row-reorder", "mode": "row-based", "sorting": {"criteria": [criterion]}})
    if waits == "column-split":
        operations.append({"op": "core/column-split", "columnName": "uri", "mode": "separator", "separator": ":"})
    if waits == "records":
        operations.append(transform("text", "value + row.record.rowCount"))
    (tmp_path / "h.json").write_text(json.dumps(operations))
    config = CleanConfig(
        openrefine=str(tmp_path / "h.json"),
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    found = []
    for size in (7, 1000):
        for module in ("clean", "clean_passes"):
            monkeypatch.setattr(f"llm_assets.data.{module}.BATCH_ROWS", size)
        found.append([table.to_pylist() for table in clean_table(documents_table(rows), config)])
    assert found[0] == found[1]
    kept, rejected = found[0]
    by_id = {row["id"]: row for row in rows}
    assert sorted(row["id"] for row in kept + rejected) == sorted(by_id) and len(rejected) > 20
    assert all(
        row["source"] == by_id[row["id"]]["source"] and row["label"] == by_id[row["id"]]["label"] for row in kept
    )
    assert all(row["text"].startswith("river") and row["reason"] == "openrefine" for row in rejected)
    assert all(row["text"].startswith(by_id[row["id"]]["text"].upper()) for row in kept)


@pytest.mark.parametrize("sorted_too", [False, True])
def test_a_document_in_which_a_pair_is_cut_is_rejected_and_the_others_stay(tmp_path, sorted_too) -> None:
    """Also by its label; what other columns have is not taken back."""
    smile = "\U0001f600"
    cut = "value + if(row.index == 1, '" + smile + "'.substring(0, 1), '" + smile + "')"
    operations = [
        transform("text", cut),
        transform("label", cut.replace("1,", "2,", 1)),
        transform("source", cut.replace("1,", "0,", 1)),
    ]
    if sorted_too:
        criterion = {"column": "text", "valueType": "text", "reverse": False}
        operations.append({"op": "core/row-reorder", "mode": "row-based", "sorting": {"criteria": [criterion]}})
    (tmp_path / "h.json").write_text(json.dumps(operations))
    config = CleanConfig(
        openrefine=str(tmp_path / "h.json"),
        min_chars=5,
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    kept, rejected = clean_table(documents(), config)
    assert [row["label"] for row in kept.to_pylist()] == ["Sky" + smile]
    assert [(row["text"], row["reason"], row["detail"]) for row in rejected.to_pylist()] == [
        (DOCUMENTS[1][0], "openrefine", "text: half of a surrogate pair at character 42"),
        (DOCUMENTS[2][0], "openrefine", "label: half of a surrogate pair at character 5"),
    ][:: -1 if sorted_too else 1]


CUT = transform("text", "if(row.index == 5, '\U0001f600'.substring(0, 1), value + row.index)")
DRAFTS = {"op": "core/row-removal", **listed("label", "d")}


@pytest.mark.parametrize(
    ("operations", "alone"),
    [
        ([CUT, DRAFTS, transform("text", "value.toUppercase()")], True),
        ([DRAFTS, transform("text", "value + cells['label'].value")], True),
        ([DRAFTS, CUT], False),  # the numbers of the rows that stay are known behind those before
        ([DRAFTS, {"op": "core/row-removal", **listed("label", "e", expression="row.index")}], False),
        ([{"op": "core/fill-down", "columnName": "label"}], False),
        ([{"op": "core/row-removal", **listed("label", "d", mode="record-based")}], False),
        ([transform("text", "value + row.record.index")], False),
        ([{"op": "core/column-split", "columnName": "uri", "mode": "separator", "separator": ":"}], False),
    ],
)
def test_the_files_are_the_same_for_any_number_of_processes(operations, alone, tmp_path, monkeypatch) -> None:
    (tmp_path / "h.json").write_text(json.dumps(operations))
    assert (replay_alone(tmp_path / "h.json") is not None) == alone
    if alone:  # nothing is left for one process
        monkeypatch.setattr(clean_passes, "replay_batches", None)
    words = ["river", "stone", "market", "window", "letter", "garden", "engine", "bridge"]
    drawn = random.Random(5)
    rows = [
        {"id": text_hash(str(n)), "text": " ".join(drawn.choices(words, k=14)) + f" {n}", "label": drawn.choice("def")}
        | {"source": f"s{n % 3}", "uri": f"t:{n}", "content_hash": "x", "parents": [], "steps": []}
        for n in range(200)
    ]
    rows[10:40] = [row | {"label": "d"} for row in rows[10:40]]  # all of some batches go
    config = CleanConfig(
        openrefine=str(tmp_path / "h.json"),
        language={"enabled": False},
        near_duplicates=NearDuplicateConfig(enabled=False),
    )
    found = []
    for workers, size in ((1, 10), (2, 10), (1, 1000)):
        out = tmp_path / f"{workers}-{size}"
        out.mkdir()
        batches = documents_table(rows).to_batches(max_chunksize=size)
        totals = clean_batches(batches, len(rows), out, config, workers=workers)
        report = totals.reports["openrefine"]
        counts = (report.rows_in, report.kept, report.rejected, report.changed, report.change, report.rejects)
        found.append([(out / name).read_bytes() for name in (DOCUMENTS_FILE, REJECTED)] + [counts])
    assert found[0] == found[1] == found[2]
    assert counts[0] == 200 and (counts[2] > 30 or not any(step["op"] == DRAFTS["op"] for step in operations))
