"""What augmentation has to know of all documents before it makes the first row: hashes, row numbers and two samples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.augment.config import AugmentConfig, CutMix
from llm_assets.data.augment.filters import LabelCheck
from llm_assets.data.augment.mix import PARTNER, POOL
from llm_assets.data.features import sample_rows
from llm_assets.data.reread import batches_at, batches_of
from llm_assets.data.rows import id_key

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_assets.data.reread import Documents


@dataclass(frozen=True)
class Survey:
    """held_out: hashes of the texts that are not in the train split, sorted, uint64. partners: rows to mix with, texts
    cut to `max_words`, as copies are. check: learnt from texts cut alike; None where no label is checked.
    """

    train_rows: int
    held_out: np.ndarray
    partners: pa.Table
    check: LabelCheck | None

    def holds_out(self, content_hashes: Sequence[str]) -> np.ndarray:
        """Which of these texts are held out."""
        keys = np.array([id_key(name) for name in content_hashes], dtype=np.uint64)
        if not len(self.held_out):
            return np.zeros(len(keys), bool)
        places = np.minimum(np.searchsorted(self.held_out, keys), len(self.held_out) - 1)
        found: np.ndarray = self.held_out[places] == keys
        return found


def train_batches(documents: Documents) -> Iterator[pa.RecordBatch]:
    """The rows of the train split."""
    import pyarrow.compute as pc

    for batch in batches_of(documents):
        yield batch.filter(pc.equal(batch["split"], "train"))


def survey(documents: Documents, config: AugmentConfig, seed: int) -> Survey:
    """One scan for what is counted, one more for each of the two samples where it is needed."""
    import pyarrow.compute as pc

    train_rows = first = 0
    held_out, labelled, worded = [np.empty(0, np.uint64)], [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for batch in batches_of(documents, ["split", "label", "content_hash", "text"]):
        in_train = pc.equal(batch["split"], "train")
        others = batch["content_hash"].filter(pc.invert(in_train)).to_pylist()
        held_out.append(np.array([id_key(name) for name in others], dtype=np.uint64))
        numbers = first + np.arange(batch.num_rows)
        usable = pc.and_(pc.fill_null(in_train, False), pc.is_valid(batch["label"]))
        has_text = pc.and_(usable, pc.fill_null(pc.greater(pc.binary_length(batch["text"]), 0), False))
        labelled.append(numbers[usable.to_numpy(zero_copy_only=False)])
        worded.append(numbers[has_text.to_numpy(zero_copy_only=False)])
        train_rows += int(pc.sum(in_train).as_py() or 0)
        first += batch.num_rows
    mixing = any(isinstance(operation, CutMix) for operation in config.operations)
    checking = bool(config.operations) and config.share > 0 and config.filters.keep_label
    partners = _chosen(labelled, POOL if mixing else 0, 0)
    examples = _chosen(worded, config.filters.train_rows if checking else 0, seed)
    found = batches_at(documents, examples, ["text", "label"]) if len(examples) else ()
    pairs = ((text, label) for batch in found for text, label in zip(*_columns(batch), strict=True))
    return Survey(
        train_rows,
        np.unique(np.concatenate(held_out)),
        _partners(documents, partners, config.max_words),
        LabelCheck([(_cut(text, config.max_words), label) for text, label in pairs], config.filters, seed)
        if checking
        else None,
    )


def _chosen(parts: list[np.ndarray], limit: int, seed: int) -> np.ndarray:
    rows = np.concatenate(parts)
    return rows[sample_rows(len(rows), limit, seed)]


def _partners(documents: Documents, numbers: np.ndarray, max_words: int) -> pa.Table:
    """Texts are cut as they are read: 20,000 whole ones can be a lot."""
    import pyarrow as pa

    found, schema = [], pa.schema([(name, pa.string()) for name in PARTNER])
    for batch in batches_at(documents, numbers, PARTNER) if len(numbers) else ():
        columns = batch.to_pydict()
        short = [None if text is None else _cut(text, max_words) for text in columns["text"]]
        found.append(pa.record_batch({**columns, "text": short}, schema=schema))
    return pa.Table.from_batches(found, schema).combine_chunks()


def _columns(batch: pa.RecordBatch) -> list[list[str]]:
    return [column.to_pylist() for column in batch.columns]


def _cut(text: str, max_words: int) -> str:
    return " ".join(text.split(maxsplit=max_words)[:max_words])
