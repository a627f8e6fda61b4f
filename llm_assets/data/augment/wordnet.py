"""Synonyms from a folder in the format of WordNet's database (wndb(5WN): `index.*`, `data.*`, `*.exc`)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from llm_assets.errors import UserError

# part of speech -> (name in the files, suffix rules of morphy(7WN): inflected ending -> base ending)
PARTS = {
    "noun": (("ses", "s"), ("xes", "x"), ("zes", "z"), ("ches", "ch"), ("shes", "sh"), ("men", "man"), ("ies", "y"),
             ("s", "")),
    "verb": (("ies", "y"), ("es", "e"), ("es", ""), ("s", ""), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", "")),
    "adj": (),
    "adv": (),
}  # fmt: skip
MAX_FILE, MAX_LINE, MAX_WORDS = 2**27, 2**17, 512
PLAIN = re.compile(r"[a-z]{2,}\Z")
VOWELS = "aeiou"


class WordNet:
    """The words of a database and, for each, its synonyms in its most frequent senses.

    A word is looked up in the part of speech in which the tagged corpus shows it in most senses; an inflected word by
    its base form, its synonyms then inflected by the regular rules. Stop words, names and phrases have no synonyms.
    """

    def __init__(self, folder: Path, senses: int = 1) -> None:
        self.folder, self.senses = folder, senses
        missing = [f"{kind}.{part}" for part in PARTS for kind in ("index", "data")]
        missing = [name for name in missing if not (folder / name).is_file()]
        if missing:
            raise UserError(
                f"data.augment.synonyms.wordnet = {str(folder)!r}: no WordNet database, {', '.join(missing)} missing "
                "(Debian's package wordnet-base has one, in /usr/share/wordnet), and no *.tab of a wordnet either"
            )
        self._index = {part: self._read_index(part) for part in PARTS}
        self._exceptions = {part: self._read_exceptions(part) for part in PARTS}
        self._data = {part: _bounded(folder / f"data.{part}") for part in PARTS}

    @lru_cache(maxsize=200_000)  # noqa: B019 - one database lives as long as the process
    def __call__(self, word: str) -> list[str]:
        """Single words that may stand for `word` (lower case), sorted; none for an unknown one."""
        if not PLAIN.match(word) or word in _stop_words():
            return []
        found = [(-self._index[part][base][0], order, part, base, ending)
                 for order, part in enumerate(PARTS) for base, ending in self._bases(word, part)]  # fmt: skip
        if not found:
            return []
        _, _, part, base, ending = min(found)
        words = {other for offset in self._index[part][base][1] for other in self._synset(part, offset)}
        if ending:
            words -= set(self._exceptions[part].values())  # these have no regular form
        return sorted(_inflect(other, ending) for other in words - {base})

    def _bases(self, word: str, part: str) -> Iterator[tuple[str, str]]:
        """Base forms of `word` in the index, each with the ending that it lost; as morphy: itself, exceptions, rules.

        An irregular form yields none: its synonyms could not be inflected alike.
        """
        index = self._index[part]
        if word in index:
            yield word, ""
        elif word not in self._exceptions[part]:
            for ending, replacement in PARTS[part]:
                base = word.removesuffix(ending) + replacement
                if word.endswith(ending) and base in index:
                    yield base, "ing" if ending == "ing" else "ed" if ending == "ed" else "s"
                    return

    def _synset(self, part: str, offset: int) -> list[str]:
        """The plain words of the synset at `offset` of the part's data file."""
        data = self._data[part]
        end = data.find(b"\n", offset, offset + MAX_LINE)
        fields = data[offset:end].decode("ascii", "replace").split(" ") if end > 0 else []
        try:
            if int(fields[0]) != offset:
                raise ValueError(fields[0])
            count = int(fields[3], 16)
            words = [fields[4 + 2 * at].partition("(")[0] for at in range(min(count, MAX_WORDS))]
        except (ValueError, IndexError):
            raise UserError(f"{self.folder / f'data.{part}'}: no synset at offset {offset}; damaged?") from None
        return [word for word in words if PLAIN.match(word)]

    def _read_index(self, part: str) -> dict[str, tuple[int, list[int]]]:
        """Single word -> (senses that the tagged corpus has, offsets of its most frequent ones)."""
        path, found = self.folder / f"index.{part}", {}
        for number, line in _lines(path):
            fields = line.split()
            try:
                if not fields or not PLAIN.match(fields[0]):
                    continue
                synsets, pointers = int(fields[2]), int(fields[3])
                tagged = int(fields[5 + pointers])
                offsets = [int(value) for value in fields[6 + pointers : 6 + pointers + min(synsets, self.senses)]]
            except (ValueError, IndexError):
                raise UserError(f"{path}, line {number}: not an index line of WordNet: {line[:80]!r}") from None
            found[fields[0]] = (tagged, offsets)
        return found

    def _read_exceptions(self, part: str) -> dict[str, str]:
        """Irregular form -> its (first) base form."""
        path = self.folder / f"{part}.exc"
        forms = [line.split() for _, line in _lines(path)] if path.is_file() else []
        return {fields[0]: fields[1] for fields in forms if len(fields) > 1}


@lru_cache(maxsize=4)
def open_wordnet(folder: Path, senses: int) -> WordNet:
    """The database, read once a process."""
    return WordNet(folder, senses)


def _bounded(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_FILE:
        raise UserError(f"{path}: {size:,} bytes; a WordNet file has at most {MAX_FILE:,}")
    return path.read_bytes()


def bounded_lines(path: Path, encoding: str) -> Iterator[tuple[int, str]]:
    """Numbered lines that are not empty, of a file and of lines of bounded size."""
    for number, line in enumerate(_bounded(path).split(b"\n"), 1):
        if len(line) > MAX_LINE:
            raise UserError(f"{path}, line {number}: {len(line):,} bytes; a line has at most {MAX_LINE:,}")
        if line:
            yield number, line.decode(encoding, "replace")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, those of the licence (they begin with two spaces) left out."""
    return ((number, line) for number, line in bounded_lines(path, "ascii") if not line.startswith("  "))


@lru_cache(maxsize=1)
def _stop_words() -> frozenset[str]:
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    return frozenset(ENGLISH_STOP_WORDS)


def _inflect(word: str, ending: str) -> str:
    """`word` with a regular ending: "" | "s" | "ed" | "ing"."""
    if ending == "s":
        if word.endswith(("s", "x", "z", "ch", "sh")):
            return word + "es"
        return word[:-1] + "ies" if word.endswith("y") and word[-2] not in VOWELS else word + "s"
    if not ending:
        return word
    if word.endswith("e") and not (ending == "ing" and word.endswith(("ee", "oe", "ye"))):
        return word[:-1] + ending
    if ending == "ed" and word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ied"
    doubled = len(word) <= 4 and word[-1] not in VOWELS + "wxy" and word[-2] in VOWELS and word[-3:-2] not in VOWELS
    return word + (word[-1] if doubled and len(word) >= 3 else "") + ending
