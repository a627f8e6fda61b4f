"""What one batch of train rows becomes: copies that stay, and copies that the filters drop again. Any process makes it
alike: a row's randomness comes from the seed and its id, and what is known of the other rows comes from the survey."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from llm_assets.data.augment.config import AugmentConfig
from llm_assets.data.augment.drafts import Draft, drafts_of, rows_of
from llm_assets.data.augment.filters import Row, drop_copies
from llm_assets.data.augment.mix import CutMixer
from llm_assets.data.augment.survey import Survey
from llm_assets.data.rows import documents_table, rejected_table

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = 200  # characters of a sample


@dataclass(frozen=True)
class Task:
    """Train rows to copy. texts: what models made of their drafts, by the draft's place."""

    batch: pa.RecordBatch
    texts: Mapping[int, str | None]


@dataclass
class Made:
    """What became of a task. made, seconds: by operation. samples, rejects: the first of each operation and reason."""

    rows_in: int
    documents: pa.Table
    rejected: pa.Table
    made: Counter[str]
    seconds: dict[str, float]
    samples: dict[str, dict[str, str]] = field(default_factory=dict)
    rejects: dict[str, dict[str, str]] = field(default_factory=dict)


def make_rows(config: AugmentConfig, seed: int, known: Survey, task: Task) -> Made:
    """The copies of a batch; what is dropped again goes with its reason and detail."""
    drafts, mixer = list(drafts_of(task.batch, config, seed)), CutMixer(known.partners)
    rows, made, seconds = _copies(drafts, task.texts, config, mixer, seed)
    shorts = mixer.texts | {draft.row["id"]: draft.short for draft in drafts}
    kept, dropped = _filtered(rows, shorts, config, known)
    done = Made(task.batch.num_rows, documents_table(kept), rejected_table(dropped), made, seconds)
    texts = {draft.row["id"]: draft.row["text"] for draft in drafts}
    for row in kept:
        done.samples.setdefault(row["steps"][-1], _sample(row, texts))
    for row in dropped:
        done.rejects.setdefault(row["reason"], _sample(row, texts))
    return done


def _copies(
    drafts: Sequence[Draft], texts: Mapping[int, str | None], config: AugmentConfig, mixer: CutMixer, seed: int
) -> tuple[list[Row], Counter[str], dict[str, float]]:
    """(the rows, how many of each operation, its seconds). A text is made of a row once."""
    rows: list[Row] = []
    made: Counter[str] = Counter()
    seconds: dict[str, float] = {draft.operation.kind: 0.0 for draft in drafts}
    seen: dict[str, set[str]] = {}
    for place, draft in enumerate(drafts):
        started = time.perf_counter()
        copies = rows_of(draft, texts.get(place), config, mixer, seed)
        known = seen.setdefault(draft.row["id"], {draft.row["text"]})
        if copies and copies[0]["text"] not in known:
            known.add(copies[0]["text"])
            rows += copies
            made[draft.operation.kind] += len(copies)
        seconds[draft.operation.kind] += time.perf_counter() - started
    return rows, made, seconds


def _filtered(
    rows: list[Row], shorts: dict[str, str], config: AugmentConfig, known: Survey
) -> tuple[list[Row], list[Row]]:
    """(rows that stay, rows that go). shorts: what was made use of the texts of rows and partners, by id."""
    held_out = known.holds_out([row["content_hash"] for row in rows])
    dropped = [
        row | {"reason": "held_out_text", "detail": row["content_hash"]}
        for row, out in zip(rows, held_out, strict=True)
        if out
    ]
    rows = [row for row, out in zip(rows, held_out, strict=True) if not out]
    rows, copies = drop_copies(rows, shorts, config.filters.min_change)
    dropped += [row | {"reason": "copy_of_parent", "detail": parent} for row, parent in copies]
    if known.check:
        rows, changed = known.check.drop_changed(rows, shorts)
        dropped += [row | {"reason": "changed_label", "detail": label} for row, label in changed]
    return rows, dropped


def _sample(row: Row, texts: Mapping[str, str]) -> dict[str, str]:
    return {"before": texts[row["parents"][0]][:SHOWN], "after": row["text"][:SHOWN]}
