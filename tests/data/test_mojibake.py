"""Every gold case of broken and of sound text, through the steps of cleaning."""

from __future__ import annotations

import json
from pathlib import Path

from document_tables import table

from llm_assets.data.clean_batch import batch_steps
from llm_assets.data.config import CleanConfig, LanguageConfig, RegexRule
from llm_assets.data.steps import apply_steps

STRAIGHT = [
    RegexRule(pattern="[\u2018\u2019]", replacement="'"),
    RegexRule(pattern="[\u201c\u201d]", replacement='"'),
]


def cleaned(texts: list[str], rules: list[RegexRule]) -> list[str]:
    """The texts after repair and rules alone."""
    config = CleanConfig(
        rules=rules, markup=False, white_space="keep", min_chars=1, language=LanguageConfig(enabled=False)
    )
    kept, rejected, _ = apply_steps(batch_steps(config), table([(text, None) for text in texts], split=None))
    assert rejected.num_rows == 0
    found: list[str] = kept["text"].to_pylist()
    return found


def test_every_gold_case(real_data: Path) -> None:
    """The gold has straight quotes, which two rules give; without them curly ones stay."""
    paths = sorted((real_data / "mojibake").glob("*.json"))
    cases = [case for path in paths for case in json.loads(path.read_text("utf-8"))]
    assert len(cases) >= 61 and all(case["expect"] == "pass" for case in cases)
    found = cleaned([case["original"] for case in cases], STRAIGHT)
    wrong = [(case["label"], text) for case, text in zip(cases, found, strict=True) if text != case["fixed"]]
    assert not wrong
    kept = cleaned([case["original"] for case in cases], [])
    assert sum(text == case["fixed"] for case, text in zip(cases, kept, strict=True)) >= len(cases) - 8
