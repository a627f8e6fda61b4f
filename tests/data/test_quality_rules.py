"""Each quality rule names what it rejects; good prose passes them all."""

from __future__ import annotations

import pytest
from document_tables import of_texts

from llm_assets.data.clean_batch import batch_steps
from llm_assets.data.config import CleanConfig
from llm_assets.data.steps import apply_steps

RULES = {name: {"enabled": True} for name in ("gopher_repetition", "gopher_quality", "c4", "fineweb")}
PROSE = "The wind and the rain have to be with that old house of the hill. "


@pytest.mark.parametrize(("rule", "text", "reason"), [
    ("gopher_quality", "Too few of words that are with the text.", "gopher_few_words"),
    ("gopher_quality", "a i " * 60, "gopher_short_words"),
    ("gopher_quality", "# those be " * 40, "gopher_hashes"),
    ("gopher_quality", "- the men and women of that town have to be with us\n" * 9, "gopher_bullet_lines"),
    ("gopher_quality", "1234 5678 the and " * 30, "gopher_few_letters"),
    ("gopher_quality", "some words without function follow here today " * 12, "gopher_few_stop_words"),
    ("gopher_repetition", "One line.\n" * 9, "gopher_repeated_lines"),
    ("gopher_repetition", "over and over " * 30, "gopher_top_2_gram"),
    ("c4", "lorem ipsum dolor sit amet.\n" + PROSE * 6, "c4_lorem_ipsum"),
    ("c4", "A function { of some kind }.\n" + PROSE * 6, "c4_curly_bracket"),
    ("c4", "Only one sentence is here.", "c4_few_sentences"),
    ("fineweb", "a short line\n" * 5 + "another, without an end\n" * 5, "fineweb_unpunctuated"),
    ("fineweb", "".join(f"Short {n}.\n" for n in range(9)), "fineweb_short_lines"),
    ("fineweb", "The same long line is in this text two times over.\n" * 2, "fineweb_repeated"),
])  # fmt: skip
def test_quality_rules_name_what_they_reject(rule: str, text: str, reason: str) -> None:
    config = CleanConfig.model_validate(
        {"min_chars": 1, "white_space": "keep", "language": {"enabled": False}, "quality": {rule: {"enabled": True}}}
    )
    _, rejected, _ = apply_steps(batch_steps(config), of_texts([text]))
    assert rejected["reason"].to_pylist() == [reason]


def test_good_prose_passes_all_quality_rules_and_loses_only_bad_lines() -> None:
    lines = [
        "The river rose in the night and took the old bridge with it.",
        "Nobody in town had seen that much water since the spring of their childhood.",
        "By noon the baker was selling bread from a boat, to the joy of all the children.",
        "His brother, who keeps bees on the hill, came down to help.",
        "They have since agreed to build a higher one, of stone this time.",
    ]
    config = CleanConfig.model_validate({"white_space": "lines", "quality": RULES})
    kept, rejected, _ = apply_steps(batch_steps(config), of_texts(["\n".join([*lines, "a line about cookie"])]))
    assert rejected["reason"].to_pylist() == []
    assert kept["text"].to_pylist() == ["\n".join(lines)]
    assert "c4" in kept["steps"].to_pylist()[0]
