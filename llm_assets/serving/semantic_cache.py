"""Replies found again by what was asked, not by its exact words: opt-in, for questions that people ask over and over.

A question is embedded as counts of its character n-grams, hashed into one vector: it needs no model, and tells near
from far better than a small decoder's own states do (`benchmarks/semantic_cache.py`). Near is not the same, though:
"get my card" and "get my card PIN" are near. So a hit must also say the same words in the same order, but for
inflections, slips of the pen and English function words; numbers must be equal.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.serving.reply_cache import held_bytes

if TYPE_CHECKING:
    from llm_assets.serving.replies import Choice, Reply

DIMENSIONS = 512
GRAMS = (3, 4, 5)  # characters
LONGEST = 400  # characters: a longer text is a document, of which one word may change the answer
CANDIDATES = 4  # nearest entries whose words are compared
LARGEST = 16_384  # bytes of an entry's choices: the memory of all is bounded by their number
ALIKE = 0.4  # share of trigrams that two forms of one word have in common
FUNCTION_WORDS = frozenset((
    "a", "am", "also", "an", "and", "any", "are", "as", "at", "be", "been", "by", "can", "could", "did", "do", "does",
    "for", "from", "had", "has", "have", "he", "hello", "hey", "hi", "i", "in", "is", "it", "just", "may", "me",
    "might", "my", "of", "on", "or", "our", "please", "she", "should", "so", "some", "thank", "thanks", "that", "the",
    "there", "these", "they", "this", "those", "to", "was", "we", "were", "will", "with", "would", "you", "your",
))  # fmt: skip


@dataclass(frozen=True)
class _Entry:
    key: bytes
    words: list[str]
    choices: list[Choice]


class SemanticCache:
    """Bounded: the least recently used entry goes. threshold: cosine from which two questions may be the same."""

    def __init__(self, entries: int, threshold: float) -> None:
        self._threshold = threshold
        self._vectors = np.zeros((entries, DIMENSIONS), dtype=np.float32)
        self._keys = np.zeros(entries, dtype=np.int64)  # the beginnings of the entries' keys
        self._entries: OrderedDict[int, _Entry] = OrderedDict()  # by row; the least recently used first

    def find(self, reply: Reply) -> list[Choice] | None:
        """The choices given to the same question, asked of the same model in the same way; None where it is new."""
        key, used = _key(reply), len(self._entries)
        if key is None or not used:
            return None
        near = self._vectors[:used] @ embed(reply.text)
        near[self._keys[:used] != _beginning(key)] = -1
        words = content_words(reply.text)
        nearest = np.argpartition(near, -CANDIDATES)[-CANDIDATES:] if used > CANDIDATES else np.arange(used)
        for row in nearest[np.argsort(-near[nearest])].tolist():
            entry = self._entries[row]
            if near[row] >= self._threshold and entry.key == key and same_words(words, entry.words):
                self._entries.move_to_end(row)
                return entry.choices
        return None

    def keep(self, reply: Reply) -> None:
        """Remember a finished reply, unless it is larger than `LARGEST`."""
        key, row = _key(reply), len(self._entries)
        if key is None or held_bytes(reply.choices) > LARGEST:
            return
        if row == len(self._vectors):
            row, _ = self._entries.popitem(last=False)
        self._vectors[row], self._keys[row] = embed(reply.text), _beginning(key)
        self._entries[row] = _Entry(key, content_words(reply.text), reply.choices)


def _key(reply: Reply) -> bytes | None:
    """A digest of what must be equal, besides the question, for a reply to be given again; None where none may be."""
    if reply.frame is None or not reply.text.strip() or len(reply.text) > LONGEST:
        return None
    asked = (reply.package.digest, reply.model, reply.frame, reply.n, reply.sampling)
    return hashlib.sha256(repr(asked).encode("utf-8", "surrogatepass")).digest()


def _beginning(key: bytes) -> int:
    return int.from_bytes(key[:8], "little", signed=True)


def embed(text: str) -> np.ndarray:
    """float32 [DIMENSIONS] of length 1: each n-gram adds 1 or -1 at a place that its hash names."""
    spaced = f" {' '.join(_words(text))} "
    hashes = np.array(
        [zlib.crc32(spaced[at : at + size].encode()) for size in GRAMS for at in range(len(spaced) - size + 1)],
        dtype=np.uint32,
    )
    vector = np.bincount(hashes % DIMENSIONS, weights=np.where(hashes >> 31, 1.0, -1.0), minlength=DIMENSIONS).astype(
        np.float32
    )
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def content_words(text: str) -> list[str]:
    """Its words in order, without function words; all of them where there are no others."""
    words = _words(text)
    return [word for word in words if word not in FUNCTION_WORDS] or words


def same_words(one: list[str], other: list[str]) -> bool:
    return len(one) == len(other) and all(map(_alike, one, other))


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", re.sub(r"['\u2019]", "", text.lower()))


def _alike(one: str, other: str) -> bool:
    if one == other:
        return True
    if any(letter.isdigit() for letter in one + other):
        return False
    left, right = _trigrams(one), _trigrams(other)
    return len(left & right) >= ALIKE * len(left | right)


@lru_cache(maxsize=4096)
def _trigrams(word: str) -> frozenset[str]:
    spaced = f" {word} "
    return frozenset(spaced[at : at + 3] for at in range(len(spaced) - 2))
