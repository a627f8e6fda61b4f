"""What is kept of a text for finding duplicates: hashes of all of it, of its start, of its n-grams, MinHash bands.

MinHash signatures (Broder 1997, by rensa) in bands propose pairs that are near each other.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.config import NearDuplicateConfig
from llm_assets.data.shingles import LETTERS, MULTIPLIER, mix, shingles, text_hashes, word_hashes

if TYPE_CHECKING:
    import pyarrow as pa

BAND_ROWS = 5  # 25 bands of 5 at 125 values: a pair at 0.8 is missed once in 20,000, one at 0.3 is looked at once in 16
NO_LETTERS = bytes(np.flatnonzero(LETTERS == 0).tolist())  # of ASCII


@dataclass(frozen=True)
class Signatures:
    """What is left of a batch for finding duplicates.

    whole: hash of each text, uint64 [rows, 2]. start: hash of its first letters, 0 where it has fewer, uint64 [rows].
    bands: uint64 [rows, bands]. sets: hashes of its n-grams, sorted, uint64 [n]; sizes: how many each row has.
    """

    whole: np.ndarray
    start: np.ndarray
    bands: np.ndarray
    sets: np.ndarray
    sizes: np.ndarray


def signatures(texts: pa.Array, config: NearDuplicateConfig, seed: int = 0) -> Signatures:
    """The signatures of a column of texts; rows are independent of each other."""
    hashes, offsets = word_hashes(texts)
    whole, start = text_hashes(hashes, offsets), np.zeros(len(texts), dtype=np.uint64)
    if not config.enabled:
        nothing = np.zeros((len(texts), 0), dtype=np.uint64)
        return Signatures(whole, start, nothing, nothing.ravel(), np.zeros(len(texts), dtype=np.int64))
    if config.same_start:
        start = _starts(texts, config.same_start)
    values, ends = shingles(hashes, offsets, config.shingle)
    return Signatures(whole, start, _bands(values, ends, config.num_perm, seed), values, np.diff(ends))


def _starts(texts: pa.Array, size: int) -> np.ndarray:
    """64 bits of the first `size` letters and digits of each text, 0 where it has fewer: uint64 [rows]."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from xxhash import xxh3_64_intdigest

    def letters(column: pa.Array) -> pa.Array:
        return pc.utf8_slice_codeunits(pc.replace_substring_regex(pc.utf8_lower(column), r"[^\pL\pN]+", ""), 0, size)

    texts = pc.fill_null(texts, "")
    starts = pc.utf8_slice_codeunits(texts, 0, 2 * size)  # nearly always enough
    plain = pc.string_is_ascii(starts)
    ascii_texts = starts.filter(plain).cast(pa.binary()).to_pylist()
    quick = [text.translate(LETTERS.tobytes(), NO_LETTERS)[:size] for text in ascii_texts]
    found = pc.replace_with_mask(starts, plain, pa.array(quick, pa.binary()).cast(pa.string()))
    found = pc.replace_with_mask(found, pc.invert(plain), letters(starts.filter(pc.invert(plain))))
    short = pc.and_(pc.less(pc.utf8_length(found), size), pc.greater(pc.utf8_length(texts), 2 * size))
    found = pc.replace_with_mask(found, short, letters(texts.filter(short)))
    enough = pc.equal(pc.utf8_length(found), size).to_pylist()
    rows = zip(found.cast(pa.binary()).to_pylist(), enough, strict=True)
    return np.array([max(xxh3_64_intdigest(text), 1) if long else 0 for text, long in rows], dtype=np.uint64)


def _bands(values: np.ndarray, offsets: np.ndarray, num_perm: int, seed: int) -> np.ndarray:
    """MinHash signatures in bands of BAND_ROWS values, each hashed: uint64 [rows, num_perm // BAND_ROWS]."""
    from rensa import RMinHash

    rows, count = len(offsets) - 1, num_perm // BAND_ROWS
    if not rows:
        return np.zeros((0, count), dtype=np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(values, offsets.astype(np.uint64), num_perm, seed)
    flat = b"".join([array("I", row) for row in matrix.to_rows()])
    parts = (
        np.frombuffer(flat, dtype=np.uint32)
        .reshape(rows, num_perm)[:, : count * BAND_ROWS]
        .reshape(rows, count, BAND_ROWS)
    )
    bands = np.zeros((rows, count), dtype=np.uint64)
    for place in range(BAND_ROWS):
        bands = mix(bands * MULTIPLIER + parts[:, :, place].astype(np.uint64))
    return bands
