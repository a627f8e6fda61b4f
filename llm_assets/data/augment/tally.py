"""What is counted of an augmentation, and what a person sees of it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import Summary
from llm_assets.data.augment.made import Made
from llm_assets.data.augment.survey import Survey
from llm_assets.data.labels import bounded
from llm_assets.data.rows import id_key

if TYPE_CHECKING:
    import pyarrow as pa

COUNTED = {"held_out_text": "dropped_held_out", "copy_of_parent": "dropped_copies",
           "changed_label": "dropped_changed_label"}  # fmt: skip


@dataclass
class Tally:
    """Counts, and eight bytes a row by which orphans are told.

    seconds: by operation, models' included, all processes together.
    """

    known: Survey
    rows: int = 0
    rejected: int = 0
    held_out_texts: int = 0
    counts: Counter[str] = field(default_factory=lambda: Counter(dict.fromkeys(COUNTED.values(), 0)))
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    operations: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    samples: dict[str, dict[str, str]] = field(default_factory=dict)
    rejects: dict[str, dict[str, str]] = field(default_factory=dict)
    _ids: list[np.ndarray] = field(default_factory=list)
    _parents: list[np.ndarray] = field(default_factory=list)

    def carried(self, batch: pa.RecordBatch) -> None:
        """Train rows that stay as they are."""
        self._written(batch["id"].to_pylist(), batch["content_hash"].to_pylist())

    def made(self, made: Made) -> None:
        """Rows made of one batch."""
        rows = made.documents
        self._written(rows["id"].to_pylist(), rows["content_hash"].to_pylist())
        parents = [
            (len(self._parents), place, id_key(name))
            for place, names in enumerate(rows["parents"].to_pylist())
            for name in names
        ]
        self._parents.append(np.array(parents, dtype=np.uint64).reshape(-1, 3))
        self.operations.update(steps[-1] for steps in rows["steps"].to_pylist())
        self.labels.update(str(label) for label in rows["label"].to_pylist())
        bounded(self.labels, "augmented documents")
        self.rejected += made.rejected.num_rows
        self.counts.update(COUNTED[reason] for reason in made.rejected["reason"].to_pylist())
        self.counts.update({f"made_{name}": count for name, count in made.made.items()})
        for name, seconds in made.seconds.items():
            self.seconds[name] += seconds
        self.samples = made.samples | self.samples
        self.rejects = made.rejects | self.rejects

    def _written(self, ids: Sequence[str], content_hashes: Sequence[str]) -> None:
        self.rows += len(ids)
        self.held_out_texts += int(self.known.holds_out(content_hashes).sum())
        self._ids.append(np.array([id_key(name) for name in ids], dtype=np.uint64))

    def orphans(self) -> int:
        """Rows that name a parent which is not in the table."""
        if not self._parents:
            return 0
        parents = np.concatenate(self._parents)
        absent = ~np.isin(parents[:, 2], np.concatenate(self._ids))
        return len(np.unique(parents[absent][:, :2], axis=0))

    def summary(self, seconds: float) -> Summary:
        """The summary of `augmented_documents`; every train row and every row made is kept or rejected."""
        added = sum(self.operations.values())
        made = sum(count for name, count in self.counts.items() if name.startswith("made_"))
        counts = self.counts
        return Summary(
            metrics={
                "rows": self.rows,
                "train_rows": self.known.train_rows,
                "augmented_rows": added,
                "augmented_share": added / max(self.rows, 1),
                "rejected": self.rejected,
                "lost_rows": abs(self.known.train_rows + made - self.rows - self.rejected),
                "orphans": self.orphans(),
                "held_out_texts": self.held_out_texts,
                "rows_per_second": round(self.rows / max(seconds, 1e-9)),
                **dict(sorted(counts.items())),
                **{f"{name}_seconds": round(value, 2) for name, value in sorted(self.seconds.items())},
            },
            bars={
                "Augmented rows per operation": dict(sorted(self.operations.items())),
                "Augmented rows per label": dict(self.labels.most_common(30)),
                "Dropped again, by reason": {name: counts[key] for name, key in COUNTED.items() if counts[key]},
                "Seconds, by operation": {name: round(value, 3) for name, value in sorted(self.seconds.items())},
            },
            samples=[
                *({"operation": name, **sample} for name, sample in sorted(self.samples.items())),
                *({"operation": f"rejected: {name}", **sample} for name, sample in sorted(self.rejects.items())),
            ],
            note="Train split only: what is held out is never augmented, so scores stay comparable. "
            f"Dropped again: {counts['dropped_copies']:,} that were copies of their parents, "
            f"{counts['dropped_held_out']:,} that were held-out texts, "
            f"{counts['dropped_changed_label']:,} that a classifier of the train split gave another label.",
        )
