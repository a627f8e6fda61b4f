"""Easy data augmentation (EDA: Wei and Zou, EMNLP 2019, arXiv:1901.11196): four edits of a text's words.

Each changes n = max(1, round(alpha * words)) words: by a synonym; by a synonym of one of them put in at a random place;
by swapping two, n times; by leaving n out. (The paper leaves out each word with probability alpha: n on average.)
"""

from __future__ import annotations

import random
from collections.abc import Callable

from llm_assets.data.augment.config import EditName
from llm_assets.data.augment.thesaurus import Lookup, shipped

Words = list[str]


def augment_text(
    text: str, operation: EditName, alpha: float, rng: random.Random, lookup: Lookup = shipped
) -> str | None:
    """`text` (its white space made single spaces) after one edit, or None when that changes nothing."""
    words = text.split()
    if len(words) < 2 or alpha <= 0:
        return None
    changed = EDITS[operation](list(words), max(1, round(alpha * len(words))), rng, lookup)
    return " ".join(changed) if changed and changed != words else None


def _bare(word: str) -> tuple[str, str, str]:
    """A word and the punctuation on both sides of it."""
    start, end = 0, len(word)
    while start < end and not word[start].isalnum():
        start += 1
    while end > start and not word[end - 1].isalnum():
        end -= 1
    return word[:start], word[start:end], word[end:]


def _replaceable(words: Words, lookup: Lookup) -> list[int]:
    return [place for place, word in enumerate(words) if lookup(_bare(word)[1].lower())]


def _synonym(word: str, rng: random.Random, lookup: Lookup) -> str:
    before, bare, after = _bare(word)
    choice = rng.choice(lookup(bare.lower()))
    if bare.isupper() and len(bare) > 1:
        choice = choice.upper()
    elif bare[:1].isupper():
        choice = choice.capitalize()
    return before + choice + after


def _replace(words: Words, count: int, rng: random.Random, lookup: Lookup) -> Words:
    places = _replaceable(words, lookup)
    for place in rng.sample(places, min(count, len(places))):
        words[place] = _synonym(words[place], rng, lookup)
    return words


def _insert(words: Words, count: int, rng: random.Random, lookup: Lookup) -> Words:
    places = _replaceable(words, lookup)
    chosen = rng.sample(places, min(count, len(places)))
    new = [_bare(_synonym(words[place], rng, lookup))[1].lower() for place in chosen]
    for word in new:
        words.insert(rng.randint(0, len(words)), word)
    return words


def _swap(words: Words, count: int, rng: random.Random, lookup: Lookup) -> Words:
    for _ in range(count):
        left, right = rng.sample(range(len(words)), 2)
        words[left], words[right] = words[right], words[left]
    return words


def _delete(words: Words, count: int, rng: random.Random, lookup: Lookup) -> Words:
    gone = set(rng.sample(range(len(words)), min(count, len(words) - 1)))
    return [word for place, word in enumerate(words) if place not in gone]


EDITS: dict[EditName, Callable[[Words, int, random.Random, Lookup], Words]] = {
    "synonym": _replace,
    "insert": _insert,
    "swap": _swap,
    "delete": _delete,
}
