"""Steps that change one text or judge it: repair, markup, white space, one's own rules, language, spelling."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pyarrow as pa
import pytest
from document_tables import of_texts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from llm_assets.data.clean import clean_table
from llm_assets.data.config import CleanConfig
from llm_assets.data.language import language_of
from llm_assets.data.markup import ANSI, CONTROL, plain_prose, repair_text, tidy_lines, tidy_space
from llm_assets.data.spelling import correct_word
from llm_assets.data.text_steps import TO_REPAIR, TO_STRIP, TO_TIDY_LINES, TO_TIDY_SPACE

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(
    st.lists(
        st.one_of(
            st.sampled_from("ab \n\t-=|+*`[]():<#.>~'\"“”‘’–—…•&\x00\x1bé\u00a0_ÂÃâ€œ¢²°Œ\x85\u2003\u0301"),  # noqa: RUF001
            st.characters(max_codepoint=0x2122),
            st.sampled_from(
                [":param x:", "https://a", "..  note::", "::\n", "- -", "Â ", "a Ã ", "\n\n", "    ", "==="]
            ),
        ),
        max_size=40,
    ).map("".join)
)
def test_columns_touch_every_text_that_a_rule_would_change(text: str) -> None:
    column = pa.array([text])
    import pyarrow.compute as pc

    def concerned(pattern: str) -> bool:
        return pc.match_substring_regex(column, pattern)[0].as_py()

    assert concerned(TO_REPAIR) or repair_text(text) == text
    assert concerned(TO_STRIP) or plain_prose(text) == text
    assert concerned(TO_TIDY_SPACE) or tidy_space(text) == text
    assert concerned(TO_TIDY_LINES) or tidy_lines(text) == text
    assert tidy_lines(tidy_lines(text)) == tidy_lines(text)


@settings(QUICK, max_examples=300)
@given(
    st.text(
        alphabet=st.one_of(st.characters(exclude_categories=["Cs"]), st.sampled_from("Ã©â€™œﬁ&;amp“é\x85Ä")),
        max_size=30,
    )
)
def test_the_short_way_past_ftfy_gives_what_ftfy_gives(text: str) -> None:
    import ftfy

    whole = ftfy.fix_text(text, uncurl_quotes=False, fix_character_width=False, normalization="NFC")
    # Compared with ftfy's own result, not with a second repair of it: what it gives may look broken to it again.
    ended = ANSI.sub("", whole).replace("\r\n", "\n").replace("\r", "\n")
    assert text.isascii() or repair_text(text) == CONTROL.sub("", ended)


def test_rules_of_ones_own() -> None:
    config = CleanConfig.model_validate(
        {
            "min_chars": 1,
            "language": {"enabled": False},
            "rules": [
                {"pattern": r"(?i)ticket #(\d+)", "replacement": r"case \1"},
                {"pattern": "^DRAFT", "reject": "draft"},
            ],
        }
    )
    kept, rejected = clean_table(of_texts(["Ticket #12 is open", "DRAFT of a letter", "a plain text"]), config)
    assert kept["text"].to_pylist() == ["case 12 is open", "a plain text"]
    assert kept["steps"].to_pylist()[0] == [r"rule (?i)ticket #(\d+)"]
    assert rejected["reason"].to_pylist() == ["draft"]


@pytest.mark.parametrize("rule", [
    {"pattern": "(a", "reject": "x"},
    {"pattern": "(?=a)", "reject": "x"},
    {"pattern": "a", "replacement": r"\3"},
    {"pattern": "a"},
])  # fmt: skip
def test_a_wrong_rule_is_an_error_that_names_it(rule: dict[str, str]) -> None:
    with pytest.raises(ValidationError, match=re.escape(rule["pattern"])):
        CleanConfig.model_validate({"rules": [rule]})


def test_a_pattern_that_explodes_elsewhere_is_linear_here() -> None:
    config = CleanConfig.model_validate(
        {"rules": [{"pattern": "(a+)+$", "replacement": "b"}], "language": {"enabled": False}}
    )
    kept, _ = clean_table(of_texts(["a" * 10_000 + "!"]), config)
    assert kept.num_rows == 1


def test_language_is_told_at_97_percent(real_data: Path) -> None:
    """Captions of multi30k in three languages and titles of news and articles in English: 3,042 + 600 texts."""
    cases = []
    for language in ("en", "de", "fr"):
        with gzip.open(real_data / "multi30k" / f"val.{language}.gz", "rt", encoding="utf-8") as stream:
            cases += [(line.strip(), language) for line in stream]
    lines = (real_data / "near_dup" / "articles_1000.train").read_text("utf-8").splitlines()
    cases += [(line.split(" ", 1)[1][:80], "en") for line in lines[:600]]
    right = sum(language_of(text)[0] == language for text, language in cases)
    assert len(cases) == 3642
    assert right / len(cases) >= 0.97


def test_misspelt_words() -> None:
    pytest.importorskip("symspellpy")
    assert correct_word("recieve") == "receive"
    assert correct_word("receive") == "receive"
    assert correct_word("zzqxj") == "zzqxj"
