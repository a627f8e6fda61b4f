"""The train split and augmented copies of its rows, batch by batch.

The randomness of a row comes from the seed and its id, so a row is edited alike whatever else is in the table. (What it
is mixed with, and what the filters drop, does depend on the other rows.) Many copies are made on all cores. In memory
are a few batches for each core, and what `survey` says: hashes, row numbers, samples and what they teach, all bounded.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
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
from llm_assets.data.augment.drafts import Draft, drafts_of
from llm_assets.data.augment.made import Task, make_rows
from llm_assets.data.augment.paraphrase import paraphrase_texts
from llm_assets.data.augment.survey import Survey, survey, train_batches
from llm_assets.data.augment.tally import Tally
from llm_assets.data.augment.translate import Translate, Way, back_translate, model_folder
from llm_assets.data.executor import cores, in_order
from llm_assets.data.rows import TableWriter

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_assets.data.reread import Documents

Write = Callable[["pa.RecordBatch"], None]
ALONE_COPIES = 100_000  # two processes were slower than one at 72,000, and faster at 214,000: starting costs seconds


def augment_table(
    documents: pa.Table,
    config: AugmentConfig,
    seed: int = 0,
    progress: Progress = no_progress,
    cache: Path | None = None,
    workers: int | None = None,
) -> tuple[pa.Table, dict[str, int]]:
    """(the train split and its augmented copies behind it, what was counted).

    A copy keeps the label, the licence and the weight, names its parents, and has neither summary nor body: only the
    label is known to survive the changes. A text of two labels is two rows (see `CutMix`). `cache` keeps the answers of
    models. workers: processes, by default all cores where many copies are made; the rows are the same for any number.
    Counted: `made_<operation>`; `dropped_held_out` (a copy that equals a held-out text), `dropped_copies`,
    `dropped_changed_label`; `paraphrase_requests`, `_failed` and `_tokens`.
    """
    import pyarrow as pa

    found: list[pa.RecordBatch] = []
    tally = augment_batches(documents, config, found.append, lambda batch: None, seed, progress, cache, workers)
    return pa.Table.from_batches(found, document_schema()), dict(sorted(tally.counts.items()))


def augment_documents(
    cleaned: Path,
    out: Path,
    config: AugmentConfig,
    seed: int = 0,
    progress: Progress = no_progress,
    cache: Path | None = None,
    workers: int | None = None,
) -> Summary:
    """Write `documents.parquet`, train rows and augmented ones, and `rejected.parquet`: made and dropped again."""
    started = time.perf_counter()
    with (
        TableWriter(out / REJECTED, rejected_schema()) as rejected,
        TableWriter(out / DOCUMENTS, document_schema()) as documents,
    ):
        tally = augment_batches(
            cleaned / DOCUMENTS, config, documents.write, rejected.write, seed, progress, cache, workers
        )
    return tally.summary(time.perf_counter() - started)


def augment_batches(
    documents: Documents,
    config: AugmentConfig,
    write: Write,
    reject: Write,
    seed: int = 0,
    progress: Progress = no_progress,
    cache: Path | None = None,
    workers: int | None = None,
) -> Tally:
    """`augment_table` of any number of rows: batches go to `write` and `reject` as they are made."""
    known = survey(documents, config, seed)
    tally = Tally(known)
    for batch in train_batches(documents):
        write(batch)
        tally.carried(batch)
    done = 0
    with _models(config, seed, tally, cache) as models:
        models.paraphrase(documents, progress)
        tasks = (Task(batch, models.texts(batch)) for batch in train_batches(documents))
        work = partial(make_rows, config, seed, known)
        for made in in_order(work, tasks, _workers(config, known) if workers is None else workers):
            for each in made.documents.to_batches():
                write(each)
            for each in made.rejected.to_batches():
                reject(each)
            tally.made(made)
            done += made.rows_in
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
class _Models:
    """Models that copies come from: they work in this process, on the texts of a batch together.

    paraphrases: (operation's place, text, copy) -> paraphrase. loaded: by the operation's place.
    """

    config: AugmentConfig
    seed: int
    cache: Path
    tally: Tally
    paraphrases: dict[tuple[int, str, int], str | None] = field(default_factory=dict)
    loaded: dict[int, dict[Way, Translate]] = field(default_factory=dict)

    def texts(self, batch: pa.RecordBatch) -> dict[int, str | None]:
        """What they make of the drafts of a batch, by the draft's place; nothing for the other operations' drafts."""
        found: dict[int, str | None] = {}
        drafts: list[Draft] = []
        for place, operation in enumerate(self.config.operations):
            if not isinstance(operation, BackTranslation | Paraphrase):
                continue
            drafts = drafts or list(drafts_of(batch, self.config, self.seed))
            started = time.perf_counter()
            asked = {at: draft for at, draft in enumerate(drafts) if draft.operation is operation and draft.short}
            shorts = [draft.short for draft in asked.values()]
            if isinstance(operation, Paraphrase):
                copies = [draft.copy for draft in asked.values()]
                made = [self.paraphrases.get((place, *one)) for one in zip(shorts, copies, strict=True)]
                found |= dict(zip(asked, made, strict=True))
            elif asked:
                loaded = self.loaded.setdefault(place, {})
                translated = back_translate(shorts, operation, self.cache, loaded=loaded)
                found |= dict(zip(asked, translated, strict=True))
            self.tally.seconds[operation.kind] += time.perf_counter() - started
        return found

    def paraphrase(self, documents: Documents, progress: Progress) -> None:
        """Ask for the paraphrases of all rows at once: `max_requests` bounds what that holds."""
        for place, operation in enumerate(self.config.operations):
            if not isinstance(operation, Paraphrase):
                continue
            started = time.perf_counter()
            asked: dict[tuple[str, int], None] = {}
            for batch in train_batches(documents):
                for draft in drafts_of(batch, self.config, self.seed):
                    if draft.operation is operation and draft.short and len(asked) < operation.max_requests:
                        asked[draft.short, draft.copy] = None
            found = paraphrase_texts(list(asked), operation, self.cache, progress)
            self.paraphrases |= {(place, *one): text for one, text in zip(asked, found.texts, strict=True)}
            self.tally.counts["paraphrase_requests"] += found.requests
            self.tally.counts["paraphrase_failed"] += found.failed
            self.tally.counts["paraphrase_tokens"] += found.tokens
            self.tally.seconds[operation.kind] += time.perf_counter() - started


@contextmanager
def _models(config: AugmentConfig, seed: int, tally: Tally, cache: Path | None) -> Iterator[_Models]:
    with tempfile.TemporaryDirectory(prefix="llm-assets-texts-") as scratch:
        yield _Models(config, seed, cache or Path(scratch) / "texts.sqlite", tally)


def _workers(config: AugmentConfig, known: Survey) -> int:
    """One process for few copies, all cores for more."""
    turns = sum(getattr(operation, "n", 1) for operation in config.operations)
    copies = min(turns, 1) * (config.copies or turns)
    return cores() if known.train_rows * config.share * copies > ALONE_COPIES else 1
