"""SMOTE (Chawla, Bowyer, Hall and Kegelmeyer, JAIR 16, 2002), by imbalanced-learn, and texts for its points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


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


def nearest_two(points: np.ndarray, synthetic: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each synthetic point the two real ones nearest to it (int64; the same twice where there is no other), and the
    share of the first, float64: the nearer has the greater one."""
    import numpy as np
    from sklearn.neighbors import NearestNeighbors
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        search = NearestNeighbors(n_neighbors=min(2, len(points))).fit(points)
        distances, places = search.kneighbors(synthetic)
    near, far = distances[:, 0], distances[:, -1]
    apart = near + far > 0
    return places[:, 0], places[:, -1], np.where(apart, far / np.where(apart, near + far, 1), 0.5)
