"""Groups of texts where there are no labels: k-means in TF-IDF and SVD features, k by the silhouette."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.data.features import FIT_ROWS, READ, fit_features, sample_rows
from llm_assets.data.reread import batches_at, batches_of, count_rows

if TYPE_CHECKING:
    from llm_assets.data.reread import Documents

DIMENSIONS, CHOICE_ROWS, SILHOUETTE_ROWS, FEWEST = 50, 5000, 1500, 20


def discover_topics(documents: Documents, max_topics: int, seed: int = 0) -> tuple[np.ndarray, list[str]]:
    """(topic of each row, int32; names of topics, by the words that are heaviest in most of their texts).

    k is that of 2 .. `max_topics` whose clusters have the greatest mean silhouette (Rousseeuw 1987) on a sample; of
    equal ones the smallest. Fewer than 20 texts are one topic. Held in memory: the samples, and four bytes a row.
    """
    rows = count_rows(documents)
    if rows < FEWEST:
        return np.zeros(rows, np.int32), ["topic 1"][:rows]
    features = fit_features(texts_at(documents, sample_rows(rows, FIT_ROWS, seed)), DIMENSIONS, seed)
    sample = features.points(texts_at(documents, sample_rows(rows, CHOICE_ROWS, seed)))[0]
    model = _clusters(sample, max_topics, seed)
    found, words = [], Counter[tuple[int, str]]()
    for batch in batches_of(documents, ["text"]):
        points, heaviest = features.points([text or "" for text in batch["text"].to_pylist()])
        clusters = model.predict(points) if model is not None else np.zeros(len(points))
        found.append(clusters.astype(np.int32))
        words.update(
            (cluster, word) for cluster, heavy in zip(clusters.tolist(), heaviest, strict=True) for word in heavy
        )
    codes = np.concatenate(found)
    sizes = np.bincount(codes)
    order = sorted(np.flatnonzero(sizes).tolist(), key=lambda cluster: (-sizes[cluster], cluster))
    place = np.zeros(len(sizes), np.int32)
    place[order] = np.arange(len(order))
    return place[codes], [f"topic {at}: {_name(words, cluster)}" for at, cluster in enumerate(order, 1)]


def texts_at(documents: Documents, numbers: list[int] | np.ndarray) -> list[str]:
    """The beginnings of these rows' texts, as much as features are made of."""
    import pyarrow.compute as pc

    found = (pc.utf8_slice_codeunits(batch["text"], 0, READ) for batch in batches_at(documents, numbers, ["text"]))
    return [text or "" for texts in found for text in texts.to_pylist()]


def _clusters(sample: np.ndarray, max_topics: int, seed: int) -> Any:
    """The k-means model of the best k; None where the texts do not differ."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    judged = sample[sample_rows(len(sample), SILHOUETTE_ROWS, seed)]
    best, best_score = None, -2.0
    with threadpool_limits(1):
        for k in range(2, min(max_topics, len(np.unique(judged, axis=0)) - 1) + 1):
            model = KMeans(k, n_init=2, random_state=seed).fit(sample)
            found = model.predict(judged)
            score = float(silhouette_score(judged, found)) if len(set(found)) > 1 else -1.0
            if score > best_score + 1e-9:
                best, best_score = model, score
    return best


def _name(words: Counter[tuple[int, str]], cluster: int) -> str:
    own = sorted((-count, word) for (of, word), count in words.items() if of == cluster)
    return " ".join(word for _, word in own[:3])
