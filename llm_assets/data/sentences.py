"""First sentence and the rest: what the task `summarise` learns from."""

from __future__ import annotations

import re

END = re.compile(r"[.!?](?=\s|$)")
ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|resp|no|fig|eq|al|dr|mr|st|ver|incl|[a-z])|\.)\.$", re.I)
LONGEST = len("approx.")  # of the abbreviations
MIN_SUMMARY, MAX_SUMMARY, MIN_SUMMARY_WORDS, MIN_BODY = 20, 160, 4, 80


def split_summary(text: str) -> tuple[str | None, str | None]:
    """(first sentence, rest) where both say something: 20-160 characters in at least 4 words, and 80 characters."""
    first = _first_sentence(text)
    if first is None:
        return None, None
    body = text[len(first) :].strip()
    if not MIN_SUMMARY <= len(first) <= MAX_SUMMARY or len(first.split()) < MIN_SUMMARY_WORDS or len(body) < MIN_BODY:
        return None, None
    return first, body


def _first_sentence(text: str) -> str | None:
    """Up to the first full stop that ends a sentence, or the first paragraph; None when neither comes soon."""
    paragraph = text.split("\n", 1)[0]
    for match in END.finditer(paragraph, 0, MAX_SUMMARY + 1):
        if not ABBREVIATION.search(paragraph, max(match.end() - LONGEST, 0), match.end()):
            return paragraph[: match.end()]
    return paragraph if len(paragraph) <= MAX_SUMMARY and len(paragraph) < len(text) else None
