"""SMOTE (Chawla, Bowyer, Hall and Kegelmeyer, JAIR 16, 2002), by imbalanced-learn, and texts for its points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Near:
    """The real rows nearest to a synthetic point: `second` is `first` where there is no other; share: of `first`."""

    first: int
    second: int
    share: float


def smote_features(
    features: Any, labels: Sequence[str], wanted: Mapping[str, int], neighbours: int = 5, seed: int = 0
) -> tuple[Any, np.ndarray]:
    """(features, labels) with synthetic rows behind the real ones, until each label has its `wanted` rows.

    features: [rows, d], an array or a sparse matrix: TF-IDF, or embeddings for an encoder's head. A label of one row
    has no neighbour and repeats it; one of fewer than `neighbours` + 1 rows uses those there are.
    """
    import numpy as np
    from imblearn.over_sampling import SMOTE, RandomOverSampler
    from scipy import sparse
    from threadpoolctl import threadpool_limits

    truth = np.asarray(labels, dtype=object)
    counts = Counter(truth.tolist())
    by_neighbours: dict[int, dict[str, int]] = {}
    for label, count in sorted(wanted.items()):
        if count > counts[label] > 0:
            by_neighbours.setdefault(min(neighbours, counts[label] - 1), {})[label] = count
    made, made_labels = [features], [truth]
    with threadpool_limits(1):
        for k, strategy in sorted(by_neighbours.items()):
            sampler = (
                SMOTE(sampling_strategy=strategy, k_neighbors=k, random_state=seed)
                if k
                else RandomOverSampler(sampling_strategy=strategy, random_state=seed)
            )
            more, more_labels = sampler.fit_resample(features, truth)
            made.append(more[features.shape[0] :])
            made_labels.append(more_labels[features.shape[0] :])
    stacked = sparse.vstack(made, format="csr") if sparse.issparse(features) else np.vstack(made)
    return stacked, np.concatenate(made_labels)


def near_rows(points: np.ndarray, labels: Sequence[str], synthetic: np.ndarray, of: Sequence[str]) -> list[Near]:
    """For each synthetic point the two rows of its label nearest to it; the nearer has the greater share."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    truth, wanted = np.asarray(labels, dtype=object), np.asarray(of, dtype=object)
    found: dict[int, Near] = {}
    with threadpool_limits(1):
        for label in sorted(set(of)):
            rows, asked = np.flatnonzero(truth == label), np.flatnonzero(wanted == label)
            search = NearestNeighbors(n_neighbors=min(2, len(rows))).fit(points[rows])
            distances, places = search.kneighbors(synthetic[asked])
            for at, distance, place in zip(asked.tolist(), distances, places, strict=True):
                near, far = float(distance[0]), float(distance[-1])
                share = far / (near + far) if near + far > 0 else 0.5
                found[at] = Near(int(rows[place[0]]), int(rows[place[-1]]), share)
    return [found[at] for at in range(len(of))]
