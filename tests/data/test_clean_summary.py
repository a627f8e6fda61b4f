"""What cleaning shows of itself, and what a benchmark's questions do to the train split."""

from __future__ import annotations

import json
from pathlib import Path

from document_tables import table

from llm_assets.artifacts import read_table, write_table
from llm_assets.data.acquire import read_sources
from llm_assets.data.clean import clean_documents
from llm_assets.data.config import CleanConfig, Files

LINES = [
    "The river rose in the night and took the old bridge with it.",
    "Nobody in town had seen that much water since the spring of their childhood.",
    "By noon the baker was selling bread from a boat, to the joy of all the children.",
    "His brother, who keeps bees on the hill, came down to help.",
    "They have since agreed to build a higher one, of stone this time.",
]
EVERYTHING = {
    "min_chars": 5,
    "white_space": "lines",
    "mask_labels": True,
    "spelling": {"enabled": True},
    "rules": [{"pattern": "secret", "reject": "secret"}, {"pattern": r"(\w+)@@", "replacement": r"\1"}],
    "quality": {name: {"enabled": True} for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb")},
    "pii": {"enabled": True},
    "decontaminate": {"enabled": True, "ngram": 5},
}


def test_summary_shows_each_step(tmp_path: Path) -> None:
    """A sample, before and after, of each step that changed a text, and of each that rejected one."""
    good = " ".join(LINES)
    texts = [
        None, "x", "secret " + good, good + " Write ``x`` to a@b.org about the pandas  Gr\u00c3\u00bc\u00c3\u009fe.",
        "x@@ Another town: " + good, "A mispeled word: " + good,
        "Das ist ein Satz auf Deutsch, der hier nicht bleiben darf, denn er ist nicht englisch.",
        "word " * 99, "{ " + good + " }", "\n".join([*LINES, "a line about cookie"]),
        "Yet another. " + good + " One.", "Yet another! " + good + " One!",
    ]  # fmt: skip
    write_table(table([(text, "pandas") for text in texts], split=None), tmp_path / "documents.parquet")
    out = tmp_path / "out"
    out.mkdir()
    summary = clean_documents(tmp_path, out, CleanConfig.model_validate(EVERYTHING))
    shown = {sample["what"]: sample for sample in summary.samples}
    steps = {name.removesuffix("_in") for name in summary.metrics if name.endswith("_in")} - {"rows"}
    changed = {step for step in steps if summary.metrics[f"{step}_changed"]}
    assert changed >= {"repair", "markup", "space", "mask", "spelling", "pii", "c4", r"rule (\w+)@@"}
    assert changed <= set(shown)
    assert all(shown[step]["before"] != shown[step]["after"] for step in changed)
    assert "[EMAIL]" in shown["pii"]["after"] and "a@b.org" in shown["pii"]["before"]
    rejecting = {step for step in steps if summary.metrics[f"{step}_rejected"]}
    assert rejecting >= {"empty", "rule secret", "length", "language", "gopher", "duplicates"}
    reasons = set(read_table(out / "rejected.parquet")["reason"].to_pylist())
    assert reasons == {what.removeprefix("rejected: ") for what in shown if what.startswith("rejected: ")}


def test_training_texts_that_hold_a_question_of_a_benchmark_go(real_data: Path, tmp_path: Path) -> None:
    """Questions of gsm8k, some of them in the midst of other texts, against the benchmark as a source of the recipe."""
    path = real_data / "gsm8k" / "train.jsonl"
    questions = [json.loads(line)["question"] for line in path.read_text("utf-8").splitlines()[:600]]
    (tmp_path / "benchmark.jsonl").write_text("".join(json.dumps({"text": q}) + "\n" for q in questions[:300]), "utf-8")
    against = [Files(paths=[str(tmp_path / "benchmark.jsonl")])]
    leaked = [f"A reader writes: {question.upper()} We wonder." for question in questions[:300:10]]
    others = [f"A reader writes: {question} We wonder." for question in questions[300:]]
    config = {"near_duplicates": {"enabled": False}, "decontaminate": {"enabled": True, "against": against}}
    (tmp_path / "out").mkdir()
    write_table(table([(text, None) for text in [*leaked, *others]]), tmp_path / "documents.parquet")
    clean_documents(
        tmp_path, tmp_path / "out", CleanConfig.model_validate(config), evaluation=read_sources(against, tmp_path)
    )
    rejected = read_table(tmp_path / "out" / "rejected.parquet")
    gone = [row["text"] for row in rejected.to_pylist() if row["reason"] == "contaminated"]
    assert set(gone) >= set(leaked)
    assert len(gone) - len(leaked) <= 1  # one question of the benchmark is there twice, in nearly the same words
