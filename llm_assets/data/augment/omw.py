"""Synonyms from a wordnet in the tab format of the Open Multilingual Wordnet (Bond and Foster 2013), in any language.

A line is a synset, a kind of entry and a word (`00007846-n<TAB>fra:lemma<TAB>personne`); notes begin with #.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from llm_assets.data.augment.wordnet import bounded_lines
from llm_assets.errors import UserError

LEMMA = "lemma"


def is_tab_wordnet(folder: Path) -> bool:
    return any(folder.glob("*.tab"))


class TabWordNet:
    """The words of all `*.tab` files of a folder and, for each, its synonyms.

    The format does not say which sense of a word is frequent, so a word of more than `senses` senses has no synonyms.
    Neither has an inflected word, nor what is written with a capital, nor a phrase.
    """

    def __init__(self, folder: Path, senses: int = 1) -> None:
        self._senses = senses
        self._words: dict[str, list[str]] = {}  # by synset
        self._synsets: dict[str, list[str]] = {}  # by word
        for path in sorted(folder.glob("*.tab")):
            for number, line in bounded_lines(path, "utf-8"):
                self._read(path, number, line)

    def _read(self, path: Path, number: int, line: str) -> None:
        if line.startswith("#"):
            return
        fields = line.rstrip("\r").split("\t")
        if len(fields) < 3:
            raise UserError(f"{path}, line {number}: not a line of a wordnet's tab file: {line[:80]!r}")
        synset, kind, word = fields[:3]
        if kind.rpartition(":")[2] != LEMMA or not (word.isalpha() and word.islower() and len(word) > 1):
            return
        members = self._words.setdefault(synset, [])
        if word not in members:
            members.append(word)
            self._synsets.setdefault(word, []).append(synset)

    def __call__(self, word: str) -> list[str]:
        """Single words that may stand for `word` (lower case), sorted; none for an unknown one."""
        synsets = self._synsets.get(word, ())
        if len(synsets) > self._senses:
            return []
        return sorted({other for synset in synsets for other in self._words[synset]} - {word})


@lru_cache(maxsize=4)
def open_tab_wordnet(folder: Path, senses: int) -> TabWordNet:
    """The wordnet, read once a process."""
    return TabWordNet(folder, senses)
