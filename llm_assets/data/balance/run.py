"""Give rare groups more say: weights that reach the loss, or rows made or left out.

With counts n_c, a group's share is moved from n_c to n_c^(1 - power): power 0 is what nature gave, 1 makes all equal.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import DOCUMENTS, Progress, Summary, no_progress, read_table, write_table
from llm_assets.data.balance.config import Balance, Balanced, NoBalance, Oversample, Smote, Undersample, Weights
from llm_assets.data.balance.factors import group_factors
from llm_assets.data.balance.resample import oversample, smote, undersample
from llm_assets.data.balance.topics import discover_topics

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN, SAMPLES = 30, 4


def find_groups(documents: pa.Table, config: Balanced, seed: int = 0) -> list[str | None]:
    """The group of each row: its label (None where it has none), or its topic."""
    labels: list[str | None] = documents["label"].to_pylist()
    if config.by == "label" or (config.by == "auto" and any(label is not None for label in labels)):
        return labels
    return [*discover_topics([text or "" for text in documents["text"].to_pylist()], config.max_topics, seed)]


def balance_table(documents: pa.Table, config: Balance, seed: int = 0) -> pa.Table:
    """The rows with `weight` filled (mean 1), or with rows made or left out.

    A weight that a row already has (a share of a soft label) is multiplied, and its rows are counted by it.
    """
    groups = documents["label"].to_pylist() if isinstance(config, NoBalance) else find_groups(documents, config, seed)
    return _balanced(documents, groups, config, seed)


def _balanced(documents: pa.Table, groups: list[str | None], config: Balance, seed: int) -> pa.Table:
    masses = _masses(groups, _weights(documents))
    if isinstance(config, Weights):
        factors = group_factors(masses, config)
        rows = zip(_weights(documents), groups, strict=True)
        return with_weights(documents, [weight * (1.0 if group is None else factors[group]) for weight, group in rows])
    if isinstance(config, Oversample):
        documents = oversample(documents, groups, masses, config, seed)
    elif isinstance(config, Undersample):
        documents = undersample(documents, groups, masses, config, seed)
    elif isinstance(config, Smote):
        documents = smote(documents, groups, masses, config, seed)
    return with_weights(documents, _weights(documents))


def with_weights(documents: pa.Table, weights: Sequence[float]) -> pa.Table:
    """The rows with these weights, scaled to a mean of 1."""
    import numpy as np
    import pyarrow as pa

    values = np.asarray(weights, dtype=np.float64)
    values = values / values.mean() if values.size else values
    place = documents.schema.get_field_index("weight")
    return documents.set_column(place, documents.schema.field(place), pa.array(values.astype(np.float32)))


def balance_documents(
    augmented: Path, out: Path, config: Balance, seed: int = 0, progress: Progress = no_progress
) -> Summary:
    """Write `documents.parquet` with balanced groups."""
    before = read_table(augmented / DOCUMENTS)
    progress(0, 1, f"{config.method} over {before.num_rows:,} rows")
    labels = before["label"].to_pylist()
    found = labels if isinstance(config, NoBalance) else find_groups(before, config, seed)
    after = _balanced(before, found, config, seed)
    write_table(after, out / DOCUMENTS)
    progress(1, 1, f"{after.num_rows:,} rows")
    kind = "label" if found == labels else "topic"
    group_of = dict(zip(before["id"].to_pylist(), found, strict=True))
    groups = [
        str(group_of[row if row in group_of else parents[0]] or "(none)")
        for row, parents in zip(after["id"].to_pylist(), after["parents"].to_pylist(), strict=True)
    ]
    counts = Counter(str(group or "(none)") for group in found)
    rows, mass = Counter(groups), _masses(groups, _weights(after))
    ordered = [group for group, _ in counts.most_common(SHOWN)]
    weights = after["weight"].to_numpy()
    return Summary(
        metrics={
            "rows": after.num_rows,
            "repeated_rows": max(0, after.num_rows - before.num_rows),
            "removed_rows": max(0, before.num_rows - after.num_rows),
            "grouped_by": kind,
            f"{kind}s": len(counts),
            "mean_weight": float(weights.mean(dtype="float64")) if after.num_rows else 1.0,
            "max_weight": float(weights.max()) if after.num_rows else 1.0,
            "imbalance_before": max(counts.values(), default=1) / min(counts.values(), default=1),
            "imbalance_after": max(mass.values(), default=1.0) / min(mass.values(), default=1.0),
        },
        bars={
            f"Rows per {kind}": {group: counts[group] for group in ordered},
            f"Rows per {kind}, balanced": {group: rows[group] for group in ordered},
            f"Weight per {kind}": {group: round(mass.get(group, 0.0), 1) for group in ordered},
        },
        samples=_samples(before, after),
        note=f"`{config.method}`{_how(config)}: the last picture is what the loss sees of the first.",
    )


def _how(config: Balance) -> str:
    if isinstance(config, NoBalance):
        return ""
    if isinstance(config, Weights) and config.scheme == "effective_number":
        return f", effective number of samples, beta {config.beta:g}"
    return f", power {config.power:g}"


def _samples(before: pa.Table, after: pa.Table) -> list[dict[str, str]]:
    """A few of the texts that were made of two, with what they were made of."""
    made = after.slice(before.num_rows)
    if not made.num_rows or made["steps"][0].as_py()[-1] != "smote_mix":
        return []
    texts = dict(zip(before["id"].to_pylist(), before["text"].to_pylist(), strict=True))
    mixed = [row for row in made.slice(0, SAMPLES * 4).to_pylist() if len(row["parents"]) == 2][:SAMPLES]
    return [
        {
            "label": str(row["label"]),
            "nearest": texts[row["parents"][0]][:200],
            "second nearest": texts[row["parents"][1]][:200],
            "mixed": row["text"][:200],
        }
        for row in mixed
    ]


def _weights(documents: pa.Table) -> list[float]:
    return [1.0 if weight is None else float(weight) for weight in documents["weight"].to_pylist()]


def _masses(groups: Sequence[str | None], weights: Sequence[float]) -> dict[str, float]:
    masses: dict[str, float] = {}
    for group, weight in zip(groups, weights, strict=True):
        if group is not None:
            masses[group] = masses.get(group, 0.0) + weight
    return masses
