"""The train split and augmented copies of its rows, batch by batch.

The randomness of a row comes from the seed and its id, so a row is edited alike whatever else is in the table. (What it
is mixed with, and what the filters drop, does depend on the other rows.) In memory is one batch at a time, and what
`survey` says: hashes, row numbers, and samples of bounded size.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from llm_assets.artifacts import (
    DOCUMENTS,
    REJECTED,
    Progress,
    Summary,
    document_schema,
    no_progress,
    rejected_schema,
)
from llm_assets.data.augment.cache import folder_digest
from llm_assets.data.augment.config import AugmentConfig, BackTranslation, Paraphrase
from llm_assets.data.augment.drafts import Draft, drafts_of, rows_of
from llm_assets.data.augment.filters import LabelCheck, Row, drop_copies
from llm_assets.data.augment.mix import CutMixer
from llm_assets.data.augment.paraphrase import paraphrase_texts
from llm_assets.data.augment.survey import Survey, survey, train_batches
from llm_assets.data.augment.tally import Tally
from llm_assets.data.augment.translate import Translate, Way, back_translate, model_folder
from llm_assets.data.rows import TableWriter, documents_table, rejected_table

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_assets.data.reread import Documents

Write = Callable[["pa.RecordBatch"], None]


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

    found: list[pa.RecordBatch] = []
    tally = augment_batches(documents, config, found.append, lambda batch: None, seed, progress, cache)
    return pa.Table.from_batches(found, document_schema()), dict(sorted(tally.counts.items()))


def augment_documents(
    cleaned: Path,
    out: Path,
    config: AugmentConfig,
    seed: int = 0,
    progress: Progress = no_progress,
    cache: Path | None = None,
) -> Summary:
    """Write `documents.parquet`, train rows and augmented ones, and `rejected.parquet`: made and dropped again."""
    started = time.perf_counter()
    with (
        TableWriter(out / REJECTED, rejected_schema()) as rejected,
        TableWriter(out / DOCUMENTS, document_schema()) as documents,
    ):
        tally = augment_batches(cleaned / DOCUMENTS, config, documents.write, rejected.write, seed, progress, cache)
    return tally.summary(time.perf_counter() - started)


def augment_batches(
    documents: Documents,
    config: AugmentConfig,
    write: Write,
    reject: Write,
    seed: int = 0,
    progress: Progress = no_progress,
    cache: Path | None = None,
) -> Tally:
    """`augment_table` of any number of rows: batches go to `write` and `reject` as they are made."""
    known = survey(documents, config, seed)
    tally = Tally(known)
    for batch in train_batches(documents):
        write(batch)
        tally.carried(batch)
    done = 0
    with _tools(documents, known, config, seed, tally, progress, cache) as tools:
        for batch in train_batches(documents):
            drafts = list(drafts_of(batch, config, seed))
            tools.ask_models(drafts, tally)
            rows, dropped = _made(drafts, tools, tally)
            for each in documents_table(rows).to_batches():
                write(each)
            for each in rejected_table(dropped).to_batches():
                reject(each)
            tally.made(rows, dropped, {draft.row["id"]: draft.row["text"] for draft in drafts})
            done += batch.num_rows
            progress(done, known.train_rows, f"{tally.rows - known.train_rows:,} rows made")
    return tally


def augment_state(config: AugmentConfig) -> str:
    """A short text that changes when a model or a database that augmentation uses does."""
    found = []
    for operation in config.operations:
        if isinstance(operation, BackTranslation):
            found += [folder_digest(model_folder(operation, way)) for way in get_args(Way)]
    if config.synonyms.wordnet:
        found.append(folder_digest(Path(config.synonyms.wordnet).expanduser()))
    return " ".join(found)


@dataclass
class _Tools:
    """What the rows of every batch are made with. paraphrases: (operation's place, text, copy) -> paraphrase."""

    config: AugmentConfig
    seed: int
    known: Survey
    mixer: CutMixer
    check: LabelCheck
    cache: Path
    paraphrases: dict[tuple[int, str, int], str | None] = field(default_factory=dict)
    loaded: dict[int, dict[Way, Translate]] = field(default_factory=dict)

    def ask_models(self, drafts: Sequence[Draft], tally: Tally) -> None:
        """Fill in the texts of back translation and paraphrase, each operation's texts of a batch together."""
        for place, operation in enumerate(self.config.operations):
            asked = [draft for draft in drafts if draft.operation is operation and draft.short]
            texts: Sequence[str | None] = []
            started = time.perf_counter()
            if isinstance(operation, BackTranslation) and asked:
                loaded = self.loaded.setdefault(place, {})
                texts = back_translate([draft.short for draft in asked], operation, self.cache, loaded=loaded)
            elif isinstance(operation, Paraphrase):
                texts = [self.paraphrases.get((place, draft.short, draft.copy)) for draft in asked]
            for draft, text in zip(asked, texts, strict=False):
                draft.text = text
            tally.seconds[operation.kind] += time.perf_counter() - started


@contextmanager
def _tools(
    documents: Documents,
    known: Survey,
    config: AugmentConfig,
    seed: int,
    tally: Tally,
    progress: Progress,
    cache: Path | None,
) -> Iterator[_Tools]:
    with tempfile.TemporaryDirectory(prefix="llm-assets-texts-") as scratch:
        check = LabelCheck(known.examples, config.filters, seed)
        path = cache or Path(scratch) / "texts.sqlite"
        tools = _Tools(config, seed, known, CutMixer(known.partners), check, path)
        for place, operation in enumerate(config.operations):
            if isinstance(operation, Paraphrase):
                _paraphrase(documents, place, operation, tools, tally, progress)
        yield tools


def _paraphrase(
    documents: Documents, place: int, operation: Paraphrase, tools: _Tools, tally: Tally, progress: Progress
) -> None:
    """The paraphrases of all rows, asked for at once: `max_requests` bounds what that holds."""
    started = time.perf_counter()
    asked: dict[tuple[str, int], None] = {}
    for batch in train_batches(documents):
        for draft in drafts_of(batch, tools.config, tools.seed):
            if draft.operation is operation and draft.short and len(asked) < operation.max_requests:
                asked[draft.short, draft.copy] = None
    found = paraphrase_texts(list(asked), operation, tools.cache, progress)
    tools.paraphrases |= {(place, *one): text for one, text in zip(asked, found.texts, strict=True)}
    tally.counts["paraphrase_requests"] += found.requests
    tally.counts["paraphrase_failed"] += found.failed
    tally.counts["paraphrase_tokens"] += found.tokens
    tally.seconds[operation.kind] += time.perf_counter() - started


def _made(drafts: Sequence[Draft], tools: _Tools, tally: Tally) -> tuple[list[Row], list[Row]]:
    """(rows that stay, rows that the filters drop again with reason and detail)."""
    made: list[Row] = []
    seen: dict[str, set[str]] = {}
    for draft in drafts:
        started = time.perf_counter()
        rows = rows_of(draft, tools.config, tools.mixer, tools.seed)
        known = seen.setdefault(draft.row["id"], {draft.row["text"]})
        if rows and rows[0]["text"] not in known:
            known.add(rows[0]["text"])
            made += rows
            tally.counts[f"made_{draft.operation.kind}"] += len(rows)
        tally.seconds[draft.operation.kind] += time.perf_counter() - started
    shorts = tools.mixer.texts | {draft.row["id"]: draft.short for draft in drafts}
    tools.mixer.texts.clear()
    held_out = tools.known.holds_out([row["content_hash"] for row in made])
    dropped = [
        row | {"reason": "held_out_text", "detail": row["content_hash"]}
        for row, out in zip(made, held_out, strict=True)
        if out
    ]
    made = [row for row, out in zip(made, held_out, strict=True) if not out]
    filters = tools.config.filters
    made, copies = drop_copies(made, shorts, filters.min_change)
    dropped += [row | {"reason": "copy_of_parent", "detail": parent} for row, parent in copies]
    if filters.keep_label:
        made, changed = tools.check.drop_changed(made, shorts)
        dropped += [row | {"reason": "changed_label", "detail": label} for row, label in changed]
    return made, dropped
