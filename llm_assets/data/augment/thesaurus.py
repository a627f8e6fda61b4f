"""Synonyms: from WordNet, from a wordnet of another language, or from the small list of groups that ships with the
project (`synonyms.txt`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from llm_assets.data.augment.config import SynonymsConfig
from llm_assets.data.augment.omw import is_tab_wordnet, open_tab_wordnet
from llm_assets.data.augment.wordnet import open_wordnet

Lookup = Callable[[str], Sequence[str]]


def thesaurus(config: SynonymsConfig) -> Lookup:
    """word in lower case -> single words that may stand for it, sorted. Raises UserError for no WordNet folder."""
    if not config.wordnet:
        return shipped
    folder = Path(config.wordnet).expanduser()
    return (open_tab_wordnet if is_tab_wordnet(folder) else open_wordnet)(folder, config.senses)


def shipped(word: str) -> Sequence[str]:
    """Synonyms of the shipped list."""
    return synonyms().get(word, ())


@cache
def synonyms() -> dict[str, list[str]]:
    """word -> single words that may stand for it, sorted; from every group that holds the word."""
    found: dict[str, set[str]] = {}
    for line in Path(__file__).with_name("synonyms.txt").read_text(encoding="utf-8").splitlines():
        group = [] if line.startswith("#") else line.split()
        for word in group:
            found.setdefault(word, set()).update(other for other in group if other != word)
    return {word: sorted(others) for word, others in sorted(found.items()) if others}
