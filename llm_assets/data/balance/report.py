"""What a person sees of a balancing."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.artifacts import Summary
from llm_assets.data.balance.config import Balance, NoBalance, Weights
from llm_assets.data.balance.groups import Groups
from llm_assets.data.balance.plan import Plan

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN, SAMPLES, LETTERS = 30, 4, 200


@dataclass
class Balancing:
    """A plan as it is carried out: what was really written, and a few rows to look at."""

    groups: Groups
    plan: Plan
    rows: int = 0
    rejected: int = 0
    read: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)  # of a group's first row
    mixed: list[dict[str, str]] = field(default_factory=list)

    def group_of(self, row: int) -> str:
        """The name of a row's group."""
        code = self.groups.codes[row]
        return self.groups.names[code] if code >= 0 else "(none)"

    def kept(self, kept: pa.RecordBatch, rejected: pa.RecordBatch) -> None:
        """Rows that were written, and rows that were left out, of the next rows read."""
        self.rows += kept.num_rows
        self.rejected += rejected.num_rows
        for number, row in self._firsts.items():
            at = number - self.read
            if 0 <= at < kept.num_rows + rejected.num_rows:
                before = int(self.plan.keep[self.read : number].sum())
                batch, place = (kept, before) if self.plan.keep[number] else (rejected, at - before)
                self.texts[row] = (batch["text"][place].as_py() or "")[:LETTERS]
        self.read += kept.num_rows + rejected.num_rows

    def made(self, made: pa.RecordBatch, origins: list[dict[str, Any]]) -> None:
        """Rows that were made and written, and those that they come from."""
        self.rows += made.num_rows
        for place, origin in enumerate(origins):
            if len(self.mixed) < SAMPLES and len(made["parents"][place]) == 2:
                text = made["text"][place].as_py()
                sample = {"before": origin["text"][:LETTERS], "after": text[:LETTERS]}
                self.mixed.append({"group": str(origin["label"]), **sample})

    @cached_property
    def _firsts(self) -> dict[int, str]:
        """Number of the first row -> group, of the most frequent and the rarest groups."""
        order = sorted(self.groups.rows().items(), key=lambda item: -len(item[1]))
        return {int(rows[0]): name for name, rows in [*order[:SAMPLES], *order[SAMPLES:][-SAMPLES:]]}

    def summary(self, config: Balance) -> Summary:
        """The summary of `balanced_documents`; every row read and every row made is written or left out."""
        kind, plan, codes = self.groups.kind, self.plan, self.groups.codes
        after = np.concatenate([codes[plan.keep], codes[plan.made.first]])
        counts, rows, masses = self._by_group(codes), self._by_group(after), self._by_group(after, plan.weights)
        ordered = [group for group, _ in counts.most_common(SHOWN)]
        weights = plan.weights
        return Summary(
            metrics={
                "rows": self.rows,
                "rows_in": len(codes),
                "repeated_rows": len(plan.made.first),
                "removed_rows": self.rejected,
                "lost_rows": abs(len(codes) + len(plan.made.first) - self.rows - self.rejected),
                "grouped_by": kind,
                f"{kind}s": len(counts),
                "mean_weight": float(weights.mean(dtype="float64")) if len(weights) else 1.0,
                "max_weight": float(weights.max()) if len(weights) else 1.0,
                "imbalance_before": max(counts.values(), default=1) / min(counts.values(), default=1),
                "imbalance_after": max(masses.values(), default=1.0) / min(masses.values(), default=1.0),
                **{f"{name}_seconds": round(value, 2) for name, value in self.seconds.items()},
            },
            bars={
                f"Rows per {kind}": {group: counts[group] for group in ordered},
                f"Rows per {kind}, balanced": {group: rows[group] for group in ordered},
                f"Weight per {kind}": {group: round(masses[group], 1) for group in ordered},
            },
            samples=self._samples(counts, rows, masses),
            note=f"`{config.method}`{_how(config)}: the last picture is what the loss sees of the first.",
        )

    def _by_group(self, codes: np.ndarray, weights: np.ndarray | None = None) -> Counter[str]:
        sums = np.bincount(codes + 1, weights, len(self.groups.names) + 1)
        present = np.bincount(codes + 1, minlength=len(self.groups.names) + 1) > 0
        found: Counter[str] = Counter()
        for place, name in enumerate(["(none)", *self.groups.names]):
            if present[place]:
                found[name or "(none)"] += sums[place].item()
        return found

    def _samples(self, counts: Counter[str], rows: Counter[str], masses: Counter[str]) -> list[dict[str, str]]:
        """Of each group shown its first row, with what the group was and is; then texts that were made of two."""
        shown = [
            {
                "group": name,
                "text": text,
                "before": f"{counts[name]:,} rows",
                "after": f"{rows[name]:,} rows, weight {masses[name]:,.1f}",
            }
            for name, text in sorted(self.texts.items(), key=lambda item: -counts[item[0]])
        ]
        return [*shown, *({"text": "", **sample} for sample in self.mixed)]


def _how(config: Balance) -> str:
    if isinstance(config, NoBalance):
        return ""
    if isinstance(config, Weights) and config.scheme == "effective_number":
        return f", effective number of samples, beta {config.beta:g}"
    return f", power {config.power:g}"
