"""How much of a reference a text repeats: token F1 and ROUGE-L, on lower-case words."""

from __future__ import annotations

import re
from collections import Counter

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def token_f1(answer: str, reference: str) -> float:
    """Harmonic mean of precision and recall over the bags of words, 0 to 1 (as in SQuAD)."""
    got, wanted = Counter(words(answer)), Counter(words(reference))
    common = sum((got & wanted).values())
    return 2 * common / (got.total() + wanted.total()) if common else 0.0


def rouge_l(answer: str, reference: str) -> float:
    """F1 of the longest common subsequence of words, 0 to 1 (Lin 2004, beta = 1)."""
    got, wanted = words(answer), words(reference)
    row = [0] * (len(wanted) + 1)
    for word in got:
        diagonal = 0
        for column, other in enumerate(wanted, start=1):
            above = row[column]
            row[column] = diagonal + 1 if word == other else max(above, row[column - 1])
            diagonal = above
    return 2 * row[-1] / (len(got) + len(wanted)) if row[-1] else 0.0
