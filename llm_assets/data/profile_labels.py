"""Labels that are most likely one label spelt twice."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from llm_assets.data.keyers import fingerprint

SHORTEST = 5  # letters of a word; in a shorter one another letter makes another word
RARER = 4  # a spelling is taken for a slip only of one that is so many times as frequent
MOST = 50


def near_spellings(counts: Sequence[tuple[str, int]]) -> list[dict[str, Any]]:
    """[{keep, rows, merge: [[label, rows], ...]}], by rows that would change; `keep` is the most frequent spelling.

    counts: (label, rows), the most frequent first. Two labels are one if their fingerprints are equal (OpenRefine's
    key collision method: case, accents, punctuation and order of words aside), or if their words are,
    after each rare word has become the frequent one that is one letter away. Words with digits never change.
    """
    rows = dict(counts)
    by_key: defaultdict[str, list[str]] = defaultdict(list)
    for label, _ in counts:
        by_key[_key(label)].append(label)
    by_key.pop("", None)
    total = {key: sum(rows[label] for label in labels) for key, labels in by_key.items()}
    becomes: dict[str, str] = {}  # key -> key
    frequent = _corrections(total)
    for key in by_key:
        right = " ".join(sorted({frequent.get(word, word) for word in key.split()}))
        if right != key and total.get(right, 0) >= RARER * total[key]:
            becomes[key] = right
    merged: defaultdict[str, list[list[Any]]] = defaultdict(list)
    for key, labels in by_key.items():
        right = becomes.get(key, key)
        right = becomes.get(right, right)
        merged[by_key[right][0]] += [[label, rows[label]] for label in labels if label != by_key[right][0]]
    found: list[dict[str, Any]] = [
        {"keep": keep, "rows": rows[keep], "merge": sorted(labels)} for keep, labels in merged.items() if labels
    ]
    found.sort(key=lambda item: (-sum(count for _, count in item["merge"]), item["keep"]))
    return found[:MOST]


def _key(label: str) -> str:
    """The fingerprint; C# is no spelling of C."""
    return fingerprint(label) + "#" * label.count("#")


def one_edit(left: str, right: str) -> bool:
    """Whether one insertion, deletion, replacement or swap of neighbours makes them equal (and they are not)."""
    if left == right or abs(len(left) - len(right)) > 1:
        return False
    start = next((n for n, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    a, b = left[start:], right[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])


def _corrections(total: Mapping[str, int]) -> dict[str, str]:
    """Rare word -> the most frequent word that is one letter away and RARER times as frequent."""
    words: Counter[str] = Counter()
    for key, count in total.items():
        words.update(dict.fromkeys(key.split(), count))
    index: defaultdict[str, list[str]] = defaultdict(list)  # two words one edit apart share a shortened form
    usual = [word for word in words if word.isalpha() and len(word) >= SHORTEST]
    for word in usual:
        for short in _shortened(word):
            index[short].append(word)
    found = {}
    for word in usual:
        others = {other for short in _shortened(word) for other in index[short]}
        better = [other for other in others if words[other] >= RARER * words[word] and one_edit(word, other)]
        if better:
            found[word] = max(better, key=lambda other: (words[other], other))
    return found


def _shortened(word: str) -> set[str]:
    """The word, and the word with any one letter left out."""
    return {word, *(word[:place] + word[place + 1 :] for place in range(len(word)))}
