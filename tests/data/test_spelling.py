"""Spelling, on a thousand queries with their corrections."""

from __future__ import annotations

from pathlib import Path

import pytest
from document_tables import table

from llm_assets.data.clean_config import SpellingConfig
from llm_assets.data.spelling import spelling_step
from llm_assets.data.steps import apply_steps

pytest.importorskip("symspellpy")


def corrected(words: list[str], **settings: object) -> list[str]:
    step = spelling_step(SpellingConfig.model_validate({"enabled": True, **settings}))
    kept, rejected, _ = apply_steps([step], table([(word, None) for word in words], split=None))
    assert rejected.num_rows == 0
    found: list[str] = kept["text"].to_pylist()
    return found


@pytest.mark.parametrize(("edits_allowed", "touched"), [(1, 0.02), (2, 0.04)])
def test_gold_queries(edits_allowed: int, touched: float, real_data: Path) -> None:
    """Words that are right stay, and of those that are wrong by one edit most become the right one."""
    lines = (real_data / "spelling" / "noisy_query_en_1000.txt").read_text("utf-8").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    rows = [row for row in rows if len(row[0]) >= SpellingConfig().min_length]
    found = corrected([row[0] for row in rows], max_edits=edits_allowed)
    right = [(word, after) for (word, wanted, _), after in zip(rows, found, strict=True) if word == wanted]
    wrong = [(wanted, after) for (word, wanted, edits), after in zip(rows, found, strict=True) if edits == "1"]
    assert len(right) > 150 and sum(word != after for word, after in right) <= touched * len(right)
    assert len(wrong) > 150 and sum(wanted == after for wanted, after in wrong) >= 0.83 * len(wrong)


def test_names_code_and_words_to_keep_are_left_alone() -> None:
    for text in ("Jonhson met Smiht", "call recieve_mail() and x.recieve", "write to recieve@b.org", "utf8 v2beta"):
        assert corrected([text]) == [text]
    assert corrected(["they recieve it"]) == ["they receive it"]
    assert corrected(["they recieve it"], keep=["recieve"]) == ["they recieve it"]
