"""The train split and augmented copies of its rows.

The randomness of a row comes from the seed and its id, so a row is edited alike whatever else is in the table. (What it
is mixed with, and what the filters drop, does depend on the other rows.)
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import DOCUMENTS, Progress, Summary, no_progress, read_table, write_table
from llm_assets.data.augment.cache import folder_digest
from llm_assets.data.augment.config import AugmentConfig, BackTranslation, CutMix, Edit, Operation, Paraphrase
from llm_assets.data.augment.eda import augment_text
from llm_assets.data.augment.filters import LabelCheck, Row, drop_copies
from llm_assets.data.augment.mix import CutMixer
from llm_assets.data.augment.paraphrase import paraphrase_texts
from llm_assets.data.augment.thesaurus import thesaurus
from llm_assets.data.augment.translate import back_translate, model_folder
from llm_assets.data.features import stable_draw
from llm_assets.data.rows import document_id, documents_table, text_hash

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class Draft:
    """A copy of `row` to be made by `operation`; `short` is the beginning of its text that the copy is made of."""

    row: Row
    short: str
    operation: Operation
    copy: int
    text: str | None = None


def augment_table(
    documents: pa.Table,
    config: AugmentConfig,
    seed: int = 0,
    progress: Progress = no_progress,
    cache: Path | None = None,
) -> tuple[pa.Table, dict[str, int]]:
    """(the train split and its augmented copies behind it, what was counted).

    A copy keeps the label, the licence and the weight, names its parents, and has neither summary nor body: only the
    label is known to survive the changes. A text of two labels is two rows (see `CutMix`). `cache` keeps the answers of
    models. Counted: `made_<operation>`; `dropped_held_out` (a copy that equals a held-out text), `dropped_copies`,
    `dropped_changed_label`; `paraphrase_requests`, `_failed` and `_tokens`.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    train = documents.filter(pc.equal(documents["split"], "train"))
    counts: Counter[str] = Counter()
    made: list[Row] = []
    drafts = _drafts(train, config, seed)
    _ask_models(drafts, config, cache, counts, progress)
    mixer = CutMixer(train, config.max_words)
    seen: dict[str, set[str]] = {}
    for number, draft in enumerate(drafts):
        if number % 1000 == 0:
            progress(number, len(drafts), f"{len(made):,} rows made")
        rows = _rows(draft, config, mixer, seed)
        known = seen.setdefault(draft.row["id"], {draft.row["text"]})
        if rows and rows[0]["text"] not in known:
            known.add(rows[0]["text"])
            made += rows
            counts[f"made_{draft.operation.kind}"] += len(rows)
    shorts = mixer.texts | {draft.row["id"]: draft.short for draft in drafts}
    held_out = set(documents.filter(pc.not_equal(documents["split"], "train"))["content_hash"].to_pylist())
    fresh = [row for row in made if row["content_hash"] not in held_out]
    made, counts["dropped_held_out"] = fresh, len(made) - len(fresh)
    made, counts["dropped_copies"] = drop_copies(made, shorts, config.filters.min_change)
    if config.filters.keep_label and made:
        progress(len(drafts), len(drafts), "whether labels were kept")
        check = LabelCheck(train, config.filters, seed)
        made, counts["dropped_changed_label"] = check.drop_changed(made, shorts)
    progress(len(drafts), len(drafts), f"{len(made):,} rows made")
    return (pa.concat_tables([train, documents_table(made)]) if made else train), dict(sorted(counts.items()))


def augment_documents(
    cleaned: Path,
    out: Path,
    config: AugmentConfig,
    seed: int = 0,
    progress: Progress = no_progress,
    cache: Path | None = None,
) -> Summary:
    """Write `documents.parquet`: train rows and augmented ones."""
    started = time.perf_counter()
    documents = read_table(cleaned / DOCUMENTS)
    table, counts = augment_table(documents, config, seed, progress, cache)
    write_table(table, out / DOCUMENTS)
    held_out = {
        content
        for content, split in zip(documents["content_hash"].to_pylist(), documents["split"].to_pylist(), strict=True)
        if split != "train"
    }
    texts = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    added = [row for row in table.select(["id", "text", "parents", "steps", "label"]).to_pylist() if row["parents"]]
    operations = Counter(row["steps"][-1] for row in added)
    samples = []
    for operation in sorted(operations):
        row = next(row for row in added if row["steps"][-1] == operation)
        samples.append({"operation": operation, "before": texts[row["parents"][0]][:200], "after": row["text"][:200]})
    return Summary(
        metrics={
            "rows": table.num_rows,
            "train_rows": table.num_rows - len(added),
            "augmented_rows": len(added),
            "augmented_share": len(added) / max(table.num_rows, 1),
            "orphans": sum(any(name not in texts for name in row["parents"]) for row in added),
            "held_out_texts": sum(content in held_out for content in table["content_hash"].to_pylist()),
            "rows_per_second": round(table.num_rows / max(time.perf_counter() - started, 1e-9)),
            **counts,
        },
        bars={
            "Augmented rows per operation": dict(sorted(operations.items())),
            "Augmented rows per label": dict(Counter(str(row["label"]) for row in added).most_common(30)),
        },
        samples=samples,
        note="Train split only: what is held out is never augmented, so scores stay comparable. "
        f"Dropped again: {counts.get('dropped_copies', 0):,} that were copies of their parents, "
        f"{counts.get('dropped_held_out', 0):,} that were held-out texts, "
        f"{counts.get('dropped_changed_label', 0):,} that a classifier of the train split gave another label.",
    )


def augment_state(config: AugmentConfig) -> str:
    """A short text that changes when a model or a database that augmentation uses does."""
    found = []
    for operation in config.operations:
        if isinstance(operation, BackTranslation):
            found += [folder_digest(model_folder(operation, way)) for way in ("forward", "back")]
    if config.synonyms.wordnet:
        found.append(folder_digest(Path(config.synonyms.wordnet).expanduser()))
    return " ".join(found)


def _drafts(train: pa.Table, config: AugmentConfig, seed: int) -> list[Draft]:
    """What is to be made of which rows, in row order, the operations of a row in turn."""
    import pyarrow as pa

    turns = [operation for operation in config.operations for _ in range(getattr(operation, "n", 1))]
    chosen = [
        place
        for place, (name, label) in enumerate(zip(train["id"].to_pylist(), train["label"].to_pylist(), strict=True))
        if turns and label is not None and stable_draw("augment", seed, name) < config.share
    ]
    found = []
    for row in train.take(pa.array(chosen, pa.int64())).to_pylist():
        first = int(stable_draw("augment", seed + 1, row["id"]) * len(turns))
        short = " ".join((row["text"] or "").split()[: config.max_words])
        copies = len(turns) if config.copies is None else config.copies
        found += [Draft(row, short, turns[(first + copy) % len(turns)], copy) for copy in range(copies)]
    return found


def _ask_models(
    drafts: Sequence[Draft], config: AugmentConfig, cache: Path | None, counts: Counter[str], progress: Progress
) -> None:
    """Fill in the texts of back translation and paraphrase, each operation's texts together."""
    with tempfile.TemporaryDirectory(prefix="llm-assets-texts-") as scratch:
        path = cache or Path(scratch) / "texts.sqlite"
        for operation in config.operations:
            asked = [draft for draft in drafts if draft.operation is operation and draft.short]
            texts: Sequence[str | None] = []
            if isinstance(operation, BackTranslation) and asked:
                texts = back_translate([draft.short for draft in asked], operation, path, progress)
            elif isinstance(operation, Paraphrase) and asked:
                done = paraphrase_texts([(draft.short, draft.copy) for draft in asked], operation, path, progress)
                texts = done.texts
                counts["paraphrase_requests"] += done.requests
                counts["paraphrase_failed"] += done.failed
                counts["paraphrase_tokens"] += done.tokens
            for draft, text in zip(asked, texts, strict=False):
                draft.text = text


def _rows(draft: Draft, config: AugmentConfig, mixer: CutMixer, seed: int) -> list[Row]:
    """The rows of a draft: none where nothing came of it, two for a soft label."""
    row, operation = draft.row, draft.operation
    rng = random.Random(f"{seed}/{row['id']}/{draft.copy}")
    if isinstance(operation, CutMix):
        return [
            _copy(draft, mixed.text, label=mixed.label, weight=(row["weight"] or 1.0) * mixed.share, part=part,
                  parents=[row["id"], mixed.partner], licence=mixed.licence)
            for part, mixed in enumerate(mixer.mix(row, draft.short, operation.beta, rng))
        ]  # fmt: skip
    text = draft.text
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
