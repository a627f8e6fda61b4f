"""Copies of rows that are to be made: which rows, by which operation, and the rows that come of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from llm_assets.data.augment.config import AugmentConfig, CutMix, Edit, Operation
from llm_assets.data.augment.eda import augment_text
from llm_assets.data.augment.filters import Row
from llm_assets.data.augment.mix import CutMixer
from llm_assets.data.augment.thesaurus import thesaurus
from llm_assets.data.features import stable_draw
from llm_assets.data.rows import document_id, text_hash

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Draft:
    """A copy of `row` to be made by `operation`; `short` is the beginning of its text that the copy is made of."""

    row: Row
    short: str
    operation: Operation
    copy: int


def drafts_of(train: pa.RecordBatch, config: AugmentConfig, seed: int) -> Iterator[Draft]:
    """What is to be made of which rows, in row order, the operations of a row in turn."""
    import pyarrow as pa

    turns = [operation for operation in config.operations for _ in range(getattr(operation, "n", 1))]
    chosen = [
        place
        for place, (name, label) in enumerate(zip(train["id"].to_pylist(), train["label"].to_pylist(), strict=True))
        if turns and label is not None and stable_draw("augment", seed, name) < config.share
    ]
    copies = len(turns) if config.copies is None else config.copies
    for row in train.take(pa.array(chosen, pa.int64())).to_pylist():
        first = int(stable_draw("augment", seed + 1, row["id"]) * len(turns))
        short = " ".join((row["text"] or "").split(maxsplit=config.max_words)[: config.max_words])
        for copy in range(copies):
            yield Draft(row, short, turns[(first + copy) % len(turns)], copy)


def rows_of(draft: Draft, text: str | None, config: AugmentConfig, mixer: CutMixer, seed: int) -> list[Row]:
    """The rows of a draft: none where nothing came of it, two for a soft label. text: a model's, of its operations."""
    row, operation = draft.row, draft.operation
    rng = random.Random(f"{seed}/{row['id']}/{draft.copy}")
    if isinstance(operation, CutMix):
        return [
            _copy(draft, mixed.text, label=mixed.label, weight=(row["weight"] or 1.0) * mixed.share, part=part,
                  parents=[row["id"], mixed.partner], licence=mixed.licence)
            for part, mixed in enumerate(mixer.mix(row, draft.short, operation.beta, rng))
        ]  # fmt: skip
    if isinstance(operation, Edit):
        alpha = config.alpha if operation.alpha is None else operation.alpha
        text = augment_text(draft.short, operation.kind, alpha, rng, thesaurus(config.synonyms))
    return [_copy(draft, text)] if text else []


def _copy(draft: Draft, text: str, part: int = 0, **changed: Any) -> Row:
    row, kind = draft.row, draft.operation.kind
    uri = f"{row['uri']}+{kind}{draft.copy + 1}" + (f".{part + 1}" if part else "")
    return {
        **row,
        "id": document_id(row["source"], uri + row["id"]),
        "uri": uri,
        "text": text,
        "summary": None,
        "body": None,
        "content_hash": text_hash(text),
        "parents": [row["id"]],
        "steps": [*(row["steps"] or []), kind],
        **changed,
    }
