"""What cleaning does to one batch, in whatever process: the steps of a recipe, then what follows from a text."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import document_schema
from llm_assets.data.config import CleanConfig, SplitConfig
from llm_assets.data.pii import pii_step
from llm_assets.data.quality_rules import quality_steps
from llm_assets.data.rows import text_hash
from llm_assets.data.sentences import split_summary
from llm_assets.data.signatures import Signatures, signatures
from llm_assets.data.spelling import spelling_step
from llm_assets.data.split import splits_of
from llm_assets.data.steps import RAW, Report, Step, in_row_order, run_step, with_column
from llm_assets.data.text_steps import language_step, length_step, text_steps

if TYPE_CHECKING:
    import pyarrow as pa

# Rows that name their split (a test file) come before those that do not, and held-out ones before train: where a text
# is in both, the held-out one stays, and no test row is ever lost to training.
RANK = {"test": 0, "canary": 0, "validation": 0, None: 1, "train": 2}


@dataclass(frozen=True)
class Cleaned:
    """A batch after the steps. kept: the document columns and `raw`; rank: int8 [kept rows]."""

    kept: pa.RecordBatch
    rejected: pa.RecordBatch
    reports: dict[str, Report]
    signatures: Signatures
    rank: np.ndarray


def batch_steps(config: CleanConfig) -> list[Step]:
    """The steps a recipe asks for, in order. Each can be run alone: see `steps.apply_steps`."""
    steps = text_steps(config)
    if config.spelling.enabled:
        steps.append(spelling_step(config.spelling))
    if config.pii.enabled:
        steps.append(pii_step(config.pii))
    steps.append(length_step(config))
    if config.language.enabled:
        steps.append(language_step(config.language))
    steps += quality_steps(config.quality)
    if config.quality.c4.enabled:  # which drops lines
        steps.append(length_step(config, "length_left"))
    return steps


def clean_batch(config_json: str, seed: int, batch: pa.RecordBatch) -> Cleaned:
    """Steps, split, summary, hashes and signatures of a batch of raw documents."""
    import pyarrow as pa

    config, steps = _plan(config_json)
    batch = pa.record_batch([batch[name] for name in document_schema().names], schema=document_schema())
    batch = batch.append_column(RAW, batch["text"])
    kept, rejected, reports = batch, [], {}
    for step in steps:
        kept, gone, reports[step.name] = run_step(step, kept)
        rejected.append(gone)
    rank = np.array([RANK.get(split, 1) for split in kept["split"].to_pylist()], dtype=np.int8)
    found = signatures(kept["text"], config.near_duplicates, seed)
    return Cleaned(_finished(kept, config.split), in_row_order(rejected, batch), reports, found, rank)


@lru_cache(maxsize=4)
def _plan(config_json: str) -> tuple[CleanConfig, list[Step]]:
    config = CleanConfig.model_validate_json(config_json)
    return config, batch_steps(config)


def _finished(batch: pa.RecordBatch, shares: SplitConfig) -> pa.RecordBatch:
    """`batch` with its split, summary, body, hash and weight, and the text as it came only where it is another."""
    import pyarrow as pa
    import pyarrow.compute as pc

    changed = pc.not_equal(batch[RAW], batch["text"])
    batch = with_column(batch, RAW, pc.if_else(changed, batch[RAW], pa.scalar(None, pa.string())))
    texts = batch["text"].to_pylist()
    drawn = pa.array(splits_of(batch["id"].to_pylist(), shares), pa.string())
    parts = [split_summary(text) for text in texts]
    values = {
        "split": pc.coalesce(batch["split"], drawn),
        "summary": pa.array([summary for summary, _ in parts], pa.string()),
        "body": pa.array([body for _, body in parts], pa.string()),
        "content_hash": pa.array([text_hash(text) for text in texts], pa.string()),
        "weight": pa.array(np.ones(len(texts), dtype=np.float32)),
    }
    for name, column in values.items():
        batch = with_column(batch, name, column)
    return batch
