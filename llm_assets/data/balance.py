"""Give rare labels more say: weights that reach the loss, or repeated rows.

With counts n_c, a label's share is moved from n_c to n_c^(1 - power): power 0 is what nature gave, 1 makes all equal.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import DOCUMENTS, Progress, Summary, no_progress, read_table, write_table
from llm_assets.data.config import BalanceConfig
from llm_assets.data.rows import document_id, documents_table

if TYPE_CHECKING:
    import pyarrow as pa


def label_factors(counts: Mapping[str, int], config: BalanceConfig) -> dict[str, float]:
    """How much a row of each label counts; 1 for the most frequent label, at most `max_factor`."""
    most = max(counts.values(), default=1)
    return {label: min((most / count) ** config.power, config.max_factor) for label, count in sorted(counts.items())}


def balance_table(documents: pa.Table, config: BalanceConfig, seed: int = 0) -> pa.Table:
    """The rows with `weight` filled (mean 1), or with rows of rare labels repeated (each repeat names its parent)."""
    labels = documents["label"].to_pylist()
    factors = label_factors(Counter(label for label in labels if label is not None), config)
    if config.method == "weights":
        return _with_weights(documents, [factors.get(label, 1.0) for label in labels])
    if config.method == "oversample":
        documents = _oversample(documents, factors, seed)
    return _with_weights(documents, [1.0] * documents.num_rows)


def balance_documents(
    augmented: Path, out: Path, config: BalanceConfig, seed: int = 0, progress: Progress = no_progress
) -> Summary:
    """Write `documents.parquet` with balanced labels."""
    before = read_table(augmented / DOCUMENTS)
    progress(0, 1, f"{config.method} over {before.num_rows:,} rows")
    after = balance_table(before, config, seed)
    write_table(after, out / DOCUMENTS)
    progress(1, 1, f"{after.num_rows:,} rows")
    counts = Counter(str(label or "(none)") for label in before["label"].to_pylist())
    mass: Counter[str] = Counter()
    for label, weight in zip(after["label"].to_pylist(), after["weight"].to_pylist(), strict=True):
        mass[str(label or "(none)")] += weight
    ordered = [label for label, _ in counts.most_common(30)]
    weights = after["weight"].to_numpy()
    return Summary(
        metrics={
            "rows": after.num_rows,
            "repeated_rows": after.num_rows - before.num_rows,
            "labels": len(counts),
            "mean_weight": float(weights.mean(dtype="float64")),
            "max_weight": float(weights.max()),
            "imbalance_before": max(counts.values()) / min(counts.values()),
            "imbalance_after": max(mass.values()) / min(mass.values()),
        },
        bars={
            "Rows per label": {label: counts[label] for label in ordered},
            "Weight per label": {label: round(mass[label], 1) for label in ordered},
        },
        note=f"`{config.method}`, power {config.power:g}: the second picture is what the loss sees of the first.",
    )


def _with_weights(documents: pa.Table, weights: list[float]) -> pa.Table:
    import numpy as np
    import pyarrow as pa

    values = np.asarray(weights, dtype=np.float64)
    values = values / values.mean() if values.size else values
    place = documents.schema.get_field_index("weight")
    return documents.set_column(place, documents.schema.field(place), pa.array(values.astype(np.float32)))


def _oversample(documents: pa.Table, factors: Mapping[str, float], seed: int) -> pa.Table:
    """Whole repeats first, then a random draw for the fraction, so that no row is repeated twice more than another."""
    import pyarrow as pa

    places: dict[str, list[int]] = {}
    for place, label in enumerate(documents["label"].to_pylist()):
        if label is not None:
            places.setdefault(label, []).append(place)
    repeats = []
    for label, rows in sorted(places.items()):
        extra = round(len(rows) * (factors[label] - 1))
        whole, rest = divmod(extra, len(rows))
        drawn = [(row, copy) for copy in range(whole) for row in rows]
        drawn += [(row, whole) for row in sorted(random.Random(f"{seed}/{label}").sample(rows, rest))]
        for row, copy in drawn:
            value = documents.slice(row, 1).to_pylist()[0]
            uri = f"{value['uri']}+repeat{copy + 1}"
            identity = document_id(value["source"], uri + value["id"])
            repeats.append(
                {**value, "id": identity, "uri": uri, "parents": [value["id"]], "steps": [*value["steps"], "repeat"]}
            )
    return pa.concat_tables([documents, documents_table(repeats)]) if repeats else documents
