"""Which language a text is in.

`py3langid` judges about a thousand texts a second, so it judges only the doubtful: a text whose beginning holds
several different English function words, at the rate English prose has them, and hardly a letter beyond ASCII, is
English without asking. The rule only ever says "English"; whatever it does not say goes to the model.
"""

from __future__ import annotations

import re
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


def language_problem(text: str, config: LanguageConfig) -> str | None:
    """None when the text may stay, else what was found, such as 'fr, 0.99'."""
    if "en" in config.allowed and clearly_english(text):
        return None
    start = text[:LOOK_AT]
    if sum(map(str.isalpha, start)) < MIN_JUDGED:
        return None
    language, confidence = language_of(text)
    if language in config.allowed or confidence < config.min_confidence:
        return None
    return f"{language}, {confidence:.2f}"


def language_of(text: str) -> tuple[str, float]:
    """(ISO 639 code, probability) by the first 400 characters."""
    language, confidence = _identifier().classify(text[:LOOK_AT])
    return str(language), float(confidence)


def clearly_english(text: str) -> bool:
    start = text[:LOOK_AT]
    if not start.isascii() and sum(map(str.isascii, start)) < 0.95 * len(start):
        return False
    words = WORD.findall(start.lower())
    found = [word for word in words if word in STOP_WORDS]
    return len(found) >= MIN_SHARE * len(words) and len(set(found)) >= MIN_DISTINCT


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
