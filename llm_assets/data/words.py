"""Texts as streams of words, a column at a time: what rules over words, lines and n-grams count.

English words are told apart as treebanks do: punctuation stands alone, contractions are two words ("do", "n't"),
compounds come apart at hyphens, abbreviations keep their full stop. What lies between two blanks is looked at once for
all its occurrences, so the cost goes with the vocabulary and not with the text.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.cells import cells_of
from llm_assets.data.shingles import MULTIPLIER, mix, spread

if TYPE_CHECKING:
    import pyarrow as pa

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")  # of the Gopher rules
TERMINALS = ".!?։؞؟۔܀܁܂߹।॥၊။።፧፨᙮᠃᠉‼‽⁇⁈⁉⸮。﹒﹖﹗！．？｡"  # what ends a sentence in some script  # noqa: RUF001

# A word is one uint64: 44 bits of hash, 12 of length, 4 that number a stop word, 4 marks.
ALPHABETIC, SYMBOL, TERMINAL, PUNCTUATION = 1, 2, 4, 8
LENGTH_BITS, STOP_SHIFT, LENGTH_SHIFT, HASH_SHIFT = 12, 4, 8, 20

_QUOTES = "'\"“”‘’‚„`´«»「」『』（）〔〕【】《》〈〉"  # noqa: RUF001
_POINTS = "…,:;!?¿¡()[]{}<>_#*&。？！，、；：～·"  # noqa: RUF001
_SIGNS = "©®°¦\u2100-\u214f\u2190-\u23ff\u2460-\u2bff\U0001f000-\U0001fad6"
_MARKS = re.escape(_QUOTES + _POINTS) + _SIGNS
_LETTERS = r"[^\W\d_]"
_FRONT = re.compile(rf"\.\.+|\+(?!\d)|(?:US|C|A)\$|[§%=—–$£€¥₹₽{_MARKS}]")  # noqa: RUF001
_UNITS = "km|m|dm|cm|mm|ha|nm|yd|in|ft|kg|g|mg|t|lb|oz|m/s|km/h|kmh|mph|hPa|Pa|mbar|mb|MB|kb|KB|gb|GB|tb|TB|T|G|M|K|%"
_BACK = re.compile(
    rf"(?:\.\.+|['’][sS]|(?<=\d)\+|(?<=\d)(?:{_UNITS}|[$£€¥₹₽])|(?<=[\da-zà-ÿ%²\-+{_MARKS}])\."  # noqa: RUF001
    rf"|(?<=[A-ZÀ-Þ][A-ZÀ-Þ])\.|[—–{_MARKS}])\Z"  # noqa: RUF001
)
_INSIDE = re.compile(
    rf"\.\.+|…|[{_SIGNS}]|(?<=\d)[+\-*^](?=[\d-])|(?<=[a-zà-ÿ'\"”’])\.(?=[A-ZÀ-Þ'\"“‘])"  # noqa: RUF001
    rf"|(?<={_LETTERS}),(?={_LETTERS})|(?<=[^\W_])(?:---|--|——|[-–—~])(?={_LETTERS})"  # noqa: RUF001
    rf"|(?<=[^\W_])[:<>=/](?={_LETTERS})"
)
_AFTER_ADDRESS = re.compile(r"[,.;:!?)\]}>\"'’”]\Z")  # noqa: RUF001
_ADDRESS = re.compile(
    r"(?:[\w+\-.]{2,}://)?(?:\S+@)?(?:[A-Za-z0-9\u00a1-\uffff](?:[\w\u00a1-\uffff-]{0,62}[A-Za-z0-9\u00a1-\uffff])?\.)+"
    r"[a-z\u00df-\uffff]{2,63}(?::\d{2,5})?(?:[/?#]\S*)?"
)
_CONTRACTED = re.compile(
    r"(?i)(ai|are|can|could|dare|did|does|do|had|has|have|is|might|must|need|ought|sha|should|was|were|wo|would)"
    r"(n['’]?t)\Z"  # noqa: RUF001
)
_SUBJECT = re.compile(
    r"(?i)(i|you|he|she|it|we|they|who|what|when|where|why|how|there|that|this|those|these|could|might|must|should|would)"
    r"(['’](?:m|re|ve|ll|d))\Z"  # noqa: RUF001
)
_JOINED = {"cannot": ("can", "not"), "gonna": ("gon", "na"), "gotta": ("got", "ta"), "dont": ("do", "nt")}
# fmt: off
_ABBREVIATIONS = frozenset([
    "mr.", "mrs.", "ms.", "dr.", "st.", "jr.", "sr.", "prof.", "gen.", "gov.", "rep.", "sen.", "rev.", "adm.",
    "bros.", "co.", "corp.", "inc.", "ltd.", "mt.", "ph.d.", "messrs.", "vs.", "e.g.", "i.e.", "a.m.", "p.m.",
    "jan.", "feb.", "mar.", "apr.", "jun.", "jul.", "aug.", "sep.", "sept.", "oct.", "nov.", "dec.",
    "ala.", "ariz.", "ark.", "calif.", "colo.", "conn.", "del.", "fla.", "ga.", "ill.", "ind.", "kan.", "ky.",
    "la.", "mass.", "mich.", "minn.", "miss.", "mont.", "neb.", "nev.", "okla.", "ore.", "pa.", "tenn.", "va.",
    "wash.", "wis.", "'cause", "'em",
])
# fmt: on


@dataclass(frozen=True)
class Words:
    """values: one uint64 a word; offsets: int64 [rows + 1]."""

    values: np.ndarray
    offsets: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets)

    @property
    def lengths(self) -> np.ndarray:
        """Characters of each word (at most 4095), int64."""
        return ((self.values >> np.uint64(LENGTH_SHIFT)) & np.uint64(2**LENGTH_BITS - 1)).astype(np.int64)

    def marked(self, mark: int) -> np.ndarray:
        """Which words have one of the marks."""
        return (self.values & np.uint64(mark)) != 0

    def stop_words(self) -> np.ndarray:
        """How many different stop words each row has: int64 [rows]."""
        number = ((self.values >> np.uint64(STOP_SHIFT)) & np.uint64(15)).astype(np.int64)
        found = np.bincount(self.rows() * 16 + number, minlength=16 * len(self.counts)).reshape(-1, 16)
        return np.count_nonzero(found[:, 1:], axis=1)

    def rows(self) -> np.ndarray:
        """The row of each word."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def where(self, rows: np.ndarray) -> Words:
        """Only the rows of a mask."""
        counts = self.counts[rows]
        return Words(self.values[np.repeat(rows, self.counts)], np.concatenate([[0], np.cumsum(counts)]))

    def per_row(self, values: np.ndarray) -> np.ndarray:
        """Sums of a value a word, by row."""
        total = np.concatenate([[0], np.cumsum(values)])
        return total[self.offsets[1:]] - total[self.offsets[:-1]]

    def sentences(self) -> np.ndarray:
        """Sentences of each row: a word after an end of sentence, and whatever closes with it, begins one."""
        ends = np.cumsum(self.marked(TERMINAL))
        before = np.concatenate([[0], ends])[self.offsets[:-1]]
        content = np.flatnonzero(~self.marked(TERMINAL | PUNCTUATION))
        rows = self.rows()[content]
        seen = ends[content]
        previous = np.concatenate([[-1], seen[:-1]])
        first = np.ones(len(rows), dtype=bool)
        first[1:] = rows[1:] != rows[:-1]
        begins = seen > np.where(first, before[rows], previous)
        return np.bincount(rows[begins], minlength=len(self.counts)) + (self.counts > 0)

    def ngrams(self, sizes: Iterable[int]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For each size, ascending: (position of its first word, hash with the row mixed in) of every run of so many
        words inside a row."""
        rows, count = self.rows(), len(self.values)
        left = self.offsets[rows + 1] - np.arange(count)  # words from each to the end of its row
        mixed, size = rows.astype(np.uint64), 0
        for wanted in sizes:
            for place in range(size, min(wanted, count)):  # of all runs, those that leave their row too
                mixed = mix(mixed[: count - place] * MULTIPLIER + self.values[place:])
            size = wanted
            start = np.flatnonzero(left[: len(mixed)] >= wanted)
            yield start, mixed[start]


def words_of(texts: pa.Array) -> Words:
    """The words of a column of texts (null is no words)."""
    cells = cells_of(texts)
    coded = cells.strings.dictionary_encode()
    known, found, ends = _vocabulary.look_up(coded.dictionary.to_pylist())
    begins = ends[known]
    sizes = ends[known + 1] - begins
    return Words(*spread(coded.indices.to_numpy(), cells.offsets, found, begins, sizes))


def split_words(chunk: str) -> list[str]:
    """The words of what lies between two blanks."""
    if chunk.isalpha() and chunk.isascii():  # most are
        return _inside(chunk)
    front: list[str] = []
    back: list[str] = []
    while chunk:
        if chunk.lower() in _ABBREVIATIONS or (_is_address(chunk) and not _AFTER_ADDRESS.search(chunk)):
            break
        head = _FRONT.match(chunk)
        if head:
            front.append(head.group())
            chunk = chunk[head.end() :]
            continue
        tail = _BACK.search(chunk)
        if not tail or tail.start() == 0:
            break
        back.append(tail.group())
        chunk = chunk[: tail.start()]
    else:
        return front + back[::-1]
    return [*front, *_inside(chunk), *back[::-1]]


def _is_address(chunk: str) -> bool:
    return "." in chunk and bool(_ADDRESS.fullmatch(chunk))


def _inside(chunk: str) -> list[str]:
    lower = chunk.lower()
    if lower in _JOINED:
        first, _ = _JOINED[lower]
        return [chunk[: len(first)], chunk[len(first) :]]
    if chunk.isalpha():
        return [chunk]
    if _is_address(chunk) or lower in _ABBREVIATIONS:
        return [chunk]
    if parts := _CONTRACTED.match(chunk) or _SUBJECT.match(chunk):
        return [parts.group(1), parts.group(2)] if parts.end() == len(chunk) else [chunk]
    found, last = [], 0
    for match in _INSIDE.finditer(chunk):
        found += [chunk[last : match.start()], match.group()]
        last = match.end()
    return [part for part in [*found, chunk[last:]] if part]


class _Vocabulary(dict[str, int]):
    """The number of each cell seen in this process; its packed words are `words[ends[number] : ends[number + 1]]`."""

    MOST = 400_000  # some 100 MB

    def __init__(self) -> None:
        super().__init__()
        self._words, self._ends = array("Q"), array("q", [0])

    def __missing__(self, cell: str) -> int:
        self._words.extend(_packed(word) for word in split_words(cell[:-1]))
        self._ends.append(len(self._words))
        number = self[cell] = len(self)
        return number

    def look_up(self, cells: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(the number of each cell int64 [cells], words uint64 [n], ends int64 [m + 1])."""
        if len(self) > self.MOST:
            self.clear()
            self._words, self._ends = array("Q"), array("q", [0])
        known = np.fromiter(map(self.__getitem__, cells), dtype=np.int64, count=len(cells))
        return known, np.frombuffer(self._words, dtype=np.uint64), np.frombuffer(self._ends, dtype=np.int64)


_vocabulary = _Vocabulary()


@lru_cache(maxsize=100_000)
def _packed(word: str) -> int:
    from xxhash import xxh3_64_intdigest

    marks = 0
    if word.isalpha() or any(map(str.isalpha, word)):
        marks |= ALPHABETIC
    elif all(unicodedata.category(letter)[0] in "PSC" for letter in word):
        marks |= SYMBOL
        if all(unicodedata.category(letter)[0] == "P" for letter in word):
            marks |= PUNCTUATION
    if word in TERMINALS:
        marks |= TERMINAL
    stop = STOP_WORDS.index(word) + 1 if word in STOP_WORDS else 0
    length = min(len(word), 2**LENGTH_BITS - 1)
    identity = xxh3_64_intdigest(word.encode("utf-8", "surrogatepass")) >> HASH_SHIFT
    return identity << HASH_SHIFT | length << LENGTH_SHIFT | stop << STOP_SHIFT | marks
