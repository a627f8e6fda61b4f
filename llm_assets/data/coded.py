"""A column of texts as numbers, its distinct texts on disk: what steps over whole tables hold of a column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.cells import text_bytes

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Coded:
    """Four bytes a row and sixteen a distinct text are mapped into memory, as are the texts. It goes to other processes
    by the name of its files.

    path: of the texts, and the beginning of the names of the other files;
    codes: int32 [rows], the place of each row's text among `texts`, which are in the order of their first row;
    counts: int64, the rows of each; blank: the code of no text, or -1.
    """

    path: Path
    codes: np.ndarray
    texts: pa.LargeStringArray
    counts: np.ndarray
    blank: int

    def __reduce__(self) -> tuple[Callable[[Path, int], Coded], tuple[Path, int]]:
        return _opened, (self.path, self.blank)

    def texts_of(self, codes: Sequence[int] | np.ndarray) -> list[str]:
        import pyarrow as pa

        found: list[str] = self.texts.take(pa.array(codes, pa.int64())).to_pylist()
        return found


def coded(column: Callable[[], Iterator[pa.Array]], path: Path) -> Coded:
    """The texts of `column` (strings, read twice; null is no text) as codes, in files of which `path` is one.

    Texts are told apart by 64 bits of a hash: two of 10^7 distinct ones share one with odds of 10^-6.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    hashes = pa.chunked_array([pa.array(_hashes(texts), pa.uint64()) for texts in column()], pa.uint64())
    encoded = hashes.combine_chunks().dictionary_encode()  # codes in the order of their first row
    codes: np.ndarray = encoded.indices.to_numpy()
    del hashes, encoded
    first, seen, blank, sizes = 0, 0, -1, [np.zeros(1, dtype=np.int64)]
    with path.open("wb") as out:
        for texts in column():
            texts = pc.fill_null(texts, "")
            mine = codes[first : first + len(texts)]
            later = np.flatnonzero(mine >= seen)
            new = later[np.unique(mine[later], return_index=True)[1]]
            data, bounds = text_bytes(texts.take(pa.array(new)))
            out.write(data.tobytes())
            lengths = np.diff(bounds)
            if blank < 0 and not lengths.all():
                blank = seen + int(np.flatnonzero(lengths == 0)[0])
            sizes.append(lengths)
            first, seen = first + len(texts), seen + len(new)
    np.save(f"{path}.codes.npy", codes)
    np.save(f"{path}.offsets.npy", np.cumsum(np.concatenate(sizes)))
    np.save(f"{path}.counts.npy", np.bincount(codes, minlength=seen))
    return _opened(path, blank)


def _opened(path: Path, blank: int) -> Coded:
    import pyarrow as pa

    codes, offsets, counts = (np.load(f"{path}.{name}.npy", mmap_mode="r") for name in ("codes", "offsets", "counts"))
    mapped = pa.memory_map(str(path)).read_buffer() if offsets[-1] else pa.py_buffer(b"")
    texts = pa.LargeStringArray.from_buffers(len(counts), pa.py_buffer(offsets), mapped)
    return Coded(path, codes, texts, counts, blank)


def _hashes(texts: pa.Array) -> np.ndarray:
    """uint64 [rows]"""
    import pyarrow.compute as pc
    from pandas.util import hash_array

    encoded = pc.fill_null(texts, "").dictionary_encode()
    distinct = hash_array(encoded.dictionary.to_numpy(zero_copy_only=False), categorize=False)
    return distinct[encoded.indices.to_numpy()]
