"""Steps that need all documents to judge one: duplicates, and the corrections that come with them.

They judge by row numbers over narrow columns; `Verdicts` then applies that to the documents, batch by batch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import Progress, document_schema, no_progress
from llm_assets.data.dedup import REASONS, DuplicateIndex, DuplicateRows
from llm_assets.data.feedback import FEEDBACK
from llm_assets.data.steps import Report, note_rejects, rejected_rows, with_column

if TYPE_CHECKING:
    import pyarrow as pa

CORRECTED = "corrected"


@dataclass
class Verdicts:
    """Which rows go and why, and which labels change. Rows are numbered over the whole corpus."""

    duplicates: DuplicateRows
    like: pa.Array  # ids of the rows that `duplicates` repeat
    labels: dict[int, str] = field(default_factory=dict)
    taken: frozenset[int] = frozenset()  # dropped rows whose label was taken over
    seconds: float = 0.0

    def apply(self, batch: pa.RecordBatch, first: int) -> tuple[pa.RecordBatch, pa.RecordBatch, Report]:
        """(documents that stay, rejected ones, what happened) of a batch whose first row is number `first`."""
        import pyarrow as pa

        started = time.perf_counter()
        batch = self._relabelled(batch, first)
        begin, end = np.searchsorted(self.duplicates.row, [first, first + batch.num_rows])
        gone = np.zeros(batch.num_rows, dtype=bool)
        rows = self.duplicates.row[begin:end]
        gone[rows - first] = True
        reasons = [REASONS[code] for code in self.duplicates.reason[begin:end].tolist()]
        details = [
            f"{similarity:.2f} like {name}" + ("; its label was taken over" if row in self.taken else "")
            for row, similarity, name in zip(
                rows.tolist(),
                self.duplicates.similarity[begin:end].tolist(),
                self.like.slice(begin, end - begin).to_pylist(),
                strict=True,
            )
        ]
        rejected = rejected_rows(
            batch.filter(pa.array(gone)), pa.array(reasons, pa.string()), pa.array(details, pa.string())
        )
        kept = batch.select(document_schema().names).filter(pa.array(~gone))
        report = Report(rows_in=batch.num_rows, kept=kept.num_rows, rejected=rejected.num_rows)
        note_rejects(report, rejected)
        report.seconds = time.perf_counter() - started + (self.seconds if first == 0 else 0)
        return kept, rejected, report

    def _relabelled(self, batch: pa.RecordBatch, first: int) -> pa.RecordBatch:
        import pyarrow as pa

        changes = {row - first: self.labels[row] for row in range(first, first + batch.num_rows) if row in self.labels}
        if not changes:
            return batch
        labels, steps = batch["label"].to_pylist(), batch["steps"].to_pylist()
        for row, label in changes.items():
            labels[row] = label
            steps[row] = [*(steps[row] or []), CORRECTED]
        batch = with_column(batch, "label", pa.array(labels, pa.string()))
        return with_column(batch, "steps", pa.array(steps, pa.list_(pa.string())))


def duplicate_verdicts(narrow: pa.Table, index: DuplicateIndex, progress: Progress = no_progress) -> Verdicts:
    """One row of each group stays. A repeat that came from feedback gives its label to the row that stays.

    narrow: id, label, split and source of each row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    started = time.perf_counter()
    found = index.duplicates(progress)
    like = narrow["id"].combine_chunks().take(pa.array(found.of)) if len(found.row) else pa.nulls(0, pa.string())
    labels: dict[int, str] = {}
    taken = set()
    corrections = pc.equal(narrow["source"].take(pa.array(found.row)), FEEDBACK)
    for row, of in zip(
        found.row[corrections.to_numpy()].tolist(), found.of[corrections.to_numpy()].tolist(), strict=True
    ):
        label = narrow["label"][row].as_py()
        if label and label != labels.get(of, narrow["label"][of].as_py()):
            labels[of] = label
            taken.add(row)
    return Verdicts(found, like, labels, frozenset(taken), time.perf_counter() - started)
