"""Misspelt words: the nearest word of a frequency dictionary (SymSpell, Garbe 2012), for English."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from llm_assets.data.clean_config import SpellingConfig
from llm_assets.data.steps import Outcome, Step, map_where

if TYPE_CHECKING:
    import pyarrow as pa

# Lower-case words alone: names, code, abbreviations and words with digits or marks are no misspellings.
WORD = re.compile(r"(?<![\w.@/#'’-])[a-z]{3,30}(?![\w@/#'’-]|\.\w)")  # noqa: RUF001


def spelling_step(config: SpellingConfig) -> Step:
    """Corrects words that no dictionary has."""
    keep = frozenset(word.lower() for word in config.keep)

    def corrected(match: re.Match[str]) -> str:
        word = match.group()
        if len(word) < config.min_length or word in keep:
            return word
        return correct_word(word, config.max_edits)

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow.compute as pc

        return Outcome(
            text=map_where(batch["text"], pc.is_valid(batch["text"]), lambda text: WORD.sub(corrected, text))
        )

    return Step("spelling", run)


@lru_cache(maxsize=200_000)
def correct_word(word: str, max_edits: int = 1) -> str:
    """The nearest and most frequent word within `max_edits`; `word` itself when it is known or nothing is near."""
    from symspellpy import Verbosity

    dictionary = _dictionary(max_edits)
    if word in dictionary.words:
        return word
    found = dictionary.lookup(word, Verbosity.TOP, max_edit_distance=max_edits)
    return str(found[0].term) if found else word


@lru_cache(maxsize=1)
def _dictionary(max_edits: int) -> Any:
    from importlib.resources import as_file, files

    from symspellpy import SymSpell

    dictionary = SymSpell(max_dictionary_edit_distance=max_edits)
    with as_file(files("symspellpy") / "frequency_dictionary_en_82_765.txt") as path:
        dictionary.load_dictionary(path, term_index=0, count_index=1)
    return dictionary
