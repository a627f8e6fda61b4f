"""The group of each row: its label, or its topic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.balance.config import Balance, NoBalance
from llm_assets.data.balance.topics import discover_topics
from llm_assets.data.labels import bounded
from llm_assets.data.reread import batches_of

if TYPE_CHECKING:
    from llm_assets.data.reread import Documents


@dataclass(frozen=True)
class Groups:
    """codes: int32 [rows], the place of each row's group in `names`, -1 for none; weights: float64 [rows]."""

    kind: str
    names: list[str]
    codes: np.ndarray
    weights: np.ndarray

    def masses(self) -> dict[str, float]:
        """Group -> the sum of its rows' weights: their number, but for soft labels."""
        return dict(zip(self.names, _sums(self.codes, self.weights, len(self.names)), strict=True))

    def rows(self) -> dict[str, np.ndarray]:
        """Group -> its row numbers, groups by name."""
        order = np.argsort(self.codes, kind="stable")
        starts = np.searchsorted(self.codes[order], np.arange(len(self.names) + 1))
        found = {name: order[starts[at] : starts[at + 1]] for at, name in enumerate(self.names)}
        return dict(sorted(found.items()))


def find_groups(documents: Documents, config: Balance, seed: int = 0) -> Groups:
    """Labels, or topics where the recipe or a lack of labels says so. A scan of two columns, and one of the texts.

    Raises UserError for too many labels.
    """
    places: dict[str, int] = {}
    codes, weights = [np.empty(0, np.int32)], [np.empty(0)]
    for batch in batches_of(documents, ["label", "weight"]):
        labels = batch["label"].to_pylist()
        found = [-1 if label is None else places.setdefault(label, len(places)) for label in labels]
        bounded(places, "documents to balance")
        codes.append(np.array(found, dtype=np.int32))
        weights.append(batch["weight"].fill_null(1.0).to_numpy(zero_copy_only=False).astype(np.float64))
    of_labels = Groups("label", list(places), np.concatenate(codes), np.concatenate(weights))
    if isinstance(config, NoBalance) or config.by == "label" or (config.by == "auto" and places):
        return of_labels
    topics, names = discover_topics(documents, config.max_topics, seed)
    return Groups("topic", names, topics, of_labels.weights)


def _sums(codes: np.ndarray, weights: np.ndarray, groups: int) -> list[float]:
    inside = codes >= 0
    sums: list[float] = np.bincount(codes[inside], weights[inside], groups).tolist()
    return sums
