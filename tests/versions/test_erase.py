"""Erasing rows: from versions, files and records, with a proof that finds what is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import dagster as dg
import pytest
from small_world import go, write_version

from llm_assets.artifacts import DOCUMENTS, read_json, read_table
from llm_assets.data.rows import text_hash
from llm_assets.errors import UserError
from llm_assets.serving.config import ServingConfig
from llm_assets.serving.traffic_parts import KINDS, parts, records, to_parquet
from llm_assets.versions.erase import erase, journal_path, to_erase
from llm_assets.versions.fragments import fragments, holds, without
from llm_assets.versions.proof import prove
from resources.endpoint import Endpoint
from resources.store import MAIN

TEXT = "People would like to know how the weight of a very particular thing may be found quickly."


def erase_here(copy, name):
    """What the command does, in this process."""
    copy.enter()
    endpoint = Endpoint(copy.home, ServingConfig())
    with dg.DagsterInstance.get() as instance:

        def rebuild(assets):
            go(copy.home, copy.recipe, " or ".join(assets))
            return ""

        return erase(copy.store, copy.home, name, endpoint=endpoint, instance=instance, rebuild=rebuild)


def everything_as_text(home):
    """The bytes of the state folder, and the rows of the tables that can be read."""
    for path in home.rglob("*"):
        if path.is_file() and path.suffix == ".parquet":
            yield path, str(read_table(path).to_pylist())
        elif path.is_file() and path.name != "erased.json":
            yield path, path.read_bytes().decode("utf-8", "replace")


def write_traffic(home):
    folder = home / "traffic"
    folder.mkdir()
    day = "2026-01-01"
    requests = [
        {"id": "chatcmpl-1", "text": TEXT, "reply": "mine"},
        {"id": "chatcmpl-2", "text": "other", "reply": "x"},
    ]
    (folder / f"{day}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in requests))
    said = [{"id": "chatcmpl-1", "rating": "up"}, {"id": "chatcmpl-2", "rating": "down"}]
    (folder / f"feedback-{day}.jsonl").write_text("".join(json.dumps(item) + "\n" for item in said))
    older = "2025-12-31"
    for name in (f"{day}.jsonl", f"feedback-{day}.jsonl"):
        text = (folder / name).read_text().replace("chatcmpl-1", "chatcmpl-3").replace("chatcmpl-2", "chatcmpl-4")
        (folder / name.replace(day, older)).write_text(text)
    for kind in KINDS:
        for part in parts(folder, kind)[:1]:
            to_parquet(part)


def test_a_row_is_erased_everywhere_and_it_is_proved(copy):
    write_traffic(copy.home)
    row, other = copy.feedback
    assert any(TEXT[:40] in text for _, text in everything_as_text(copy.home))
    seen = to_erase(copy.store, copy.home, row)
    done = erase_here(copy, row)
    assert done.complete, (done.problem, done.proof and done.proof.found)
    assert set(done.rebuilt) == {"raw_documents", "cleaned_documents", "augmented_documents", "balanced_documents"}
    assert done.versions == len(seen.seen) and len(done.runs) == 2, "the runs of v2 and v3; v1 had not seen it"
    assert done.proof.scanned["tables"] >= 8 and done.proof.scanned["Dagster's databases"] >= 3

    for path, text in everything_as_text(copy.home):
        assert row not in text and TEXT[:40] not in text, path
    main = copy.store.heads(MAIN)
    ids = set(read_table(copy.store.checkout(main["raw_documents"]) / DOCUMENTS)["id"].to_pylist())
    assert row not in ids and other in ids and len(ids) == 341
    kept = [[row["id"] for part in parts(copy.home / "traffic", kind) for row in records(part)] for kind in KINDS]
    assert kept == [["chatcmpl-4", "chatcmpl-2"], [], ["chatcmpl-4", "chatcmpl-2"]]
    assert len(list((copy.home / "traffic").glob("*.parquet"))) == 2
    assert copy.store.checkout(copy.store.heads("v1")["balanced_documents"]).is_dir(), "v1 had not seen it"
    with pytest.raises(UserError, match="erased"):
        copy.store.checkout(copy.store.heads("v2")["balanced_documents"])
    with pytest.raises(UserError, match="no row"):
        to_erase(copy.store, copy.home, row)

    (copy.home / "feedback" / "accepted.jsonl").write_text(json.dumps({"text": TEXT, "label": "mine", "uri": "x://y"}))
    go(copy.home, copy.recipe, "raw_documents")
    raw = read_table(copy.store.checkout(copy.store.heads(MAIN)["raw_documents"]) / DOCUMENTS)
    assert TEXT not in raw["text"].to_pylist(), "the same text does not come back from elsewhere"


def test_a_source_is_erased(copy):
    done = erase_here(copy, "source:python:rich")
    assert done.complete, (done.problem, done.proof and done.proof.found)
    raw = read_table(copy.store.checkout(copy.store.heads(MAIN)["raw_documents"]) / DOCUMENTS)
    assert "python:rich" not in set(raw["source"].to_pylist()) and raw.num_rows == 262
    assert read_json(copy.home / "erased.json")["sources"] == ["python:rich"]


def test_an_augmented_row_names_the_one_to_erase(copy):
    table = read_table(copy.store.checkout(copy.store.heads(MAIN)["augmented_documents"]) / DOCUMENTS).to_pylist()
    child = next(row for row in table if row["parents"])
    with pytest.raises(UserError, match=child["parents"][0]):
        to_erase(copy.store, copy.home, child["id"])


def test_the_proof_finds_what_is_left(store, tmp_path):
    """In tables, JSON, records of versions, people's files and logs, also where the text is cut or escaped."""
    wanted, hashes = fragments([TEXT]), {text_hash(TEXT)}
    cut = TEXT[:70]
    clean = write_version(store, tmp_path, "raw_documents", rows={"a": None})
    write_version(store, tmp_path, "cleaned_documents", rows={"b": {"text": f"Which? {cut.upper()}", "split": "train"}})
    write_version(store, tmp_path, "augmented_documents", rows={"c": {"parents": ["gone"], "split": "train"}})
    report = json.dumps({"prompt": {"user": TEXT.replace(" ", "\n")}}).encode()
    write_version(store, tmp_path, "prompt_library", files={"report.json": report})
    write_version(
        store, tmp_path, "data_profile", files={"report.html": b"<td>" + TEXT.replace("very", "<b>very</b>").encode()}
    )
    write_version(store, tmp_path, "tokenizer", files={"tokenizer.json": b"{}"}, summary={"note": f"as in {TEXT}"})
    model = write_version(store, tmp_path, "finetuned_model", files={"model.safetensors": b"w"}, inputs=[clean])
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "x.log").write_text(f"...{text_hash(TEXT)}...")
    found = prove(store, tmp_path, {"gone"}, hashes, wanted, set()).found
    places = " ".join(trace.where for trace in found)
    for part in ("cleaned_documents", "augmented_documents", "prompt_library", "data_profile", "tokenizer", "x.log"):
        assert part in places, places
    assert "raw_documents" not in places and "finetuned_model" not in places
    gone = {("raw_documents", clean.data_version)}
    found = prove(store, tmp_path, set(), set(), {}, gone).found
    assert {trace.where.split("@")[0] for trace in found} == {"raw_documents", "finetuned_model"}, model


def test_runs_of_words_survive_markup_and_what_is_common_does_not_count():
    wanted = fragments([TEXT])
    assert holds(f"<p>before {TEXT.upper()} after", wanted) and holds(TEXT[20:85], wanted)
    assert not holds("how the height of a very particular thing may", wanted)
    assert without(wanted, [TEXT]) == {}
    short = fragments(["just three words"])
    assert holds("Just three words.", short) and not holds("a short one: just three words.", short)


@pytest.mark.slow
def test_killed_anywhere_the_same_command_completes_it(copy):
    row = copy.feedback[0]
    environment = os.environ | copy.environment | {"COLUMNS": "200"}
    command = [sys.executable, "-m", "llm_assets.cli", "erase", row]
    for seconds in (4.0, 5.0, 6.0, 7.0, 8.0, 9.0):  # about where it is from start-up to proof
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode == 1 and "no row" in done.stdout:  # the last one was done before it was killed
        assert not journal_path(copy.home, row).exists()
    else:
        assert done.returncode == 0 and "0 found" in done.stdout, done.stdout
    for path, text in everything_as_text(copy.home):
        assert row not in text and TEXT[:40] not in text, path
