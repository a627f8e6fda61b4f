"""Steps that need all documents to judge one: duplicates, wrong labels, contamination.

They judge by row numbers over narrow columns and what the first pass left of each text. What they find becomes steps
like any other, which are then run over the documents, batch by batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import Progress, no_progress
from llm_assets.data.clean_config import LabelErrorsConfig
from llm_assets.data.config import DecontaminateConfig
from llm_assets.data.contamination import contaminated
from llm_assets.data.decontaminate import REASON, said
from llm_assets.data.dedup import REASONS, DuplicateRows
from llm_assets.data.evaluation_texts import evaluation_ngrams
from llm_assets.data.labels import STEP, merge_labels
from llm_assets.data.sources.feedback import FEEDBACK
from llm_assets.data.steps import SHOWN, Outcome, Step, appended, with_column
from llm_assets.data.table_config import LabelsConfig
from llm_assets.data.waiting import Waiting

if TYPE_CHECKING:
    import pyarrow as pa

    from llm_assets.data.label_errors import LabelErrors

SHOWN_ERRORS = 6
CORRECTED, RELABELLED = "corrected", "relabelled"
Batches = Callable[[], Iterable["pa.RecordBatch"]]


@dataclass
class Relabelled:
    """New labels by row number, each with the step that gave it."""

    labels: dict[int, tuple[str, str]] = field(default_factory=dict)

    def apply(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        """`batch`, whose first row is number `first`, with its new labels."""
        import pyarrow as pa

        changes = {row - first: self.labels[row] for row in range(first, first + batch.num_rows) if row in self.labels}
        if not changes:
            return batch
        labels, steps = batch["label"].to_pylist(), batch["steps"].to_pylist()
        for row, (label, step) in changes.items():
            labels[row] = label
            steps[row] = [*(steps[row] or []), step]
        batch = with_column(batch, "label", pa.array(labels, pa.string()))
        return with_column(batch, "steps", pa.array(steps, pa.list_(pa.string())))


@dataclass(frozen=True)
class Respelled:
    """label: its spelling -> what it becomes; rows: how many do."""

    heads: Mapping[str, str]
    rows: int

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """`batch` with one spelling a label."""
        import pyarrow as pa
        import pyarrow.compute as pc

        old, new = (pa.array(side, pa.string()) for side in (self.heads.keys(), self.heads.values()))
        place = pc.index_in(batch["label"], value_set=old)
        changed = place.is_valid().to_numpy(zero_copy_only=False)
        if not changed.any():
            return batch
        batch = with_column(batch, "label", pc.coalesce(new.take(place), batch["label"]))
        return with_column(batch, "steps", appended(batch["steps"], changed, STEP))


@dataclass
class Rejects:
    """Rows to reject by number, in order: int64 rows, and what to say of each."""

    name: str
    rows: np.ndarray
    say: Callable[[int], tuple[str, str]]  # (reason, detail) of the n-th of `rows`

    def among(self, numbers: np.ndarray) -> np.ndarray:
        """Which of these rows (ascending numbers) are rejected: bool [numbers]."""
        if not len(numbers):
            return np.zeros(0, dtype=bool)
        begin, end = np.searchsorted(self.rows, [numbers[0], numbers[-1] + 1])
        return np.isin(numbers, self.rows[begin:end])

    def step(self, numbers: np.ndarray) -> Step:
        """As a step over a batch whose rows have these numbers (ascending)."""

        def run(batch: pa.RecordBatch) -> Outcome:
            import pyarrow as pa

            reason: list[str | None] = [None] * batch.num_rows
            detail: list[str | None] = [None] * batch.num_rows
            places = np.flatnonzero(self.among(numbers))
            for place, number in zip(
                places.tolist(), np.searchsorted(self.rows, numbers[places]).tolist(), strict=True
            ):
                reason[place], detail[place] = self.say(number)
            return Outcome(reason=pa.array(reason, pa.string()), detail=pa.array(detail, pa.string()))

        return Step(self.name, run)


def duplicates(narrow: pa.Table, waiting: Waiting, relabelled: Relabelled, progress: Progress = no_progress) -> Rejects:
    """One row of each group stays. A repeat that came from feedback gives its label to the row that stays.

    narrow: label and source of each row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    found = waiting.index.duplicates(progress)
    like = waiting.ids(found.of)
    taken = set()
    corrections = np.flatnonzero(pc.equal(narrow["source"].take(pa.array(found.row)), FEEDBACK).to_numpy())
    for number in corrections.tolist():
        row, of = int(found.row[number]), int(found.of[number])
        label = narrow["label"][row].as_py()
        old = relabelled.labels[of][0] if of in relabelled.labels else narrow["label"][of].as_py()
        if label and label != old:
            relabelled.labels[of] = (label, CORRECTED)
            taken.add(number)
    return Rejects("duplicates", found.row, lambda number: _said(found, like, taken, number))


def _said(found: DuplicateRows, like: pa.Array, taken: set[int], number: int) -> tuple[str, str]:
    detail = f"{found.similarity[number]:.2f} like {like[number].as_py()}"
    return REASONS[found.reason[number]], detail + ("; its label was taken over" if number in taken else "")


def label_spellings(narrow: pa.Table, config: LabelsConfig) -> tuple[pa.Table, Respelled, dict[str, float]]:
    """(narrow with one spelling a label, what gives it to the documents, "old → new" to rows)."""
    merged, merges = merge_labels(narrow, config)
    heads = {old: merge.label for merge in merges for old in merge.spellings}
    shown = {f"{old} → {merge.label}": float(rows) for merge in merges for old, rows in merge.spellings.items()}
    return merged, Respelled(heads, sum(merge.rows for merge in merges)), shown


def label_errors(
    narrow: pa.Table,
    batches: Batches,
    gone: np.ndarray,
    config: LabelErrorsConfig,
    relabelled: Relabelled,
    seed: int,
) -> tuple[Rejects, LabelErrors]:
    """(rows to drop, labels that are probably wrong). Judged are train rows that stay and no person corrected."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from llm_assets.data.label_errors import find_label_errors

    judged = pc.and_(pc.equal(narrow["split"], "train"), pc.not_equal(narrow["source"], FEEDBACK)).to_numpy().copy()
    judged[gone] = False
    judged[list(relabelled.labels)] = False
    labels = pc.if_else(pa.array(judged), narrow["label"].combine_chunks(), pa.scalar(None, pa.string()))
    found = find_label_errors(lambda: (batch["text"] for batch in batches()), labels, config, seed)
    order = np.argsort(found.rows)
    rows, rather = found.rows[order], [found.labels[place] for place in order.tolist()]
    sure = found.confidence[order]
    if config.action == "fix":
        steps = ((label, RELABELLED) for label in rather)
        relabelled.labels.update(dict(zip(rows.tolist(), steps, strict=True)))

    def say(number: int) -> tuple[str, str]:
        label = labels[int(rows[number])].as_py()
        return "label_error", f"{label} by its label, {rather[number]} by the model ({sure[number]:.2f})"

    return Rejects("label_errors", rows if config.action == "drop" else rows[:0], say), found


def label_samples(narrow: pa.Table, batches: Batches, found: LabelErrors, action: str) -> list[dict[str, str]]:
    """The labels that are least probable, with the beginning of their texts, for people to look at."""
    shown = found.rows[:SHOWN_ERRORS]
    texts, first = {}, 0
    for batch in batches():
        for row in shown[(shown >= first) & (shown < first + batch.num_rows)].tolist():
            texts[row] = batch["text"][row - first].as_py()[:SHOWN]
        first += batch.num_rows
    doing = {"report": "label error, left as it is", "drop": "label error, rejected", "fix": "label error, mended"}
    return [
        {
            "what": doing[action],
            "before": f"{narrow['label'][row].as_py()}: {texts[row]}",
            "after": f"{found.labels[place]} by the model ({found.confidence[place]:.2f})",
        }
        for place, row in enumerate(shown.tolist())
    ]


def decontamination(
    waiting: Waiting, gone: np.ndarray, config: DecontaminateConfig, evaluation: pa.Table | None
) -> Rejects:
    """Train rows to reject for what they share with `evaluation`, and with the held-out rows that stay."""
    import pyarrow.compute as pc

    def staying(names: list[str]) -> Iterator[tuple[np.ndarray, pa.RecordBatch]]:
        """(numbers, rows) of each batch, without those that are gone."""
        first = 0
        for batch in waiting.batches(names):
            numbers = np.arange(first, first + batch.num_rows)
            first += batch.num_rows
            stays = np.isin(numbers, gone[slice(*np.searchsorted(gone, [first - batch.num_rows, first]))], invert=True)
            yield numbers[stays], batch.filter(stays)

    def held_out() -> Iterator[pa.RecordBatch]:
        if evaluation is not None:
            yield from evaluation.select(["id", "text"]).to_batches()
        for _, batch in staying(["id", "text", "split"]) if config.own_splits else ():
            yield batch.filter(pc.not_equal(batch["split"], "train"))

    def train() -> Iterator[tuple[np.ndarray, pa.Array]]:
        for numbers, batch in staying(["text", "split"]):
            mine = pc.equal(batch["split"], "train")
            yield numbers[mine.to_numpy(zero_copy_only=False)], batch["text"].filter(mine)

    with (
        TemporaryDirectory(prefix="ngrams-", dir=waiting.folder) as name,
        (Path(name) / "held_out").open("w+b") as file,
    ):
        against = evaluation_ngrams(held_out(), config.ngram, file)
        found = contaminated(train, against, config, Path(name))
    names = against.names

    def say(number: int) -> tuple[str, str]:
        return REASON, said(names, config, found.shares[number], int(found.owners[number]))

    return Rejects("decontaminate", found.rows, say)
