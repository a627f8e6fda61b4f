"""Groups of texts where there are no labels: k-means in TF-IDF and SVD features, k by the silhouette."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from llm_assets.data.features import sample_rows, text_features

DIMENSIONS, CHOICE_ROWS, SILHOUETTE_ROWS, FEWEST = 50, 5000, 1500, 20


def discover_topics(texts: Sequence[str], max_topics: int, seed: int = 0) -> list[str]:
    """The topic of each text, named by the words that are heaviest in most of its texts.

    k is that of 2 .. `max_topics` whose clusters have the greatest mean silhouette (Rousseeuw 1987) on a sample; of
    equal ones the smallest. Fewer than 20 texts are one topic.
    """
    import numpy as np
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    if len(texts) < FEWEST:
        return ["topic 1"] * len(texts)
    points, heaviest = text_features(texts, DIMENSIONS, seed)
    sample = points[sample_rows(len(points), CHOICE_ROWS, seed)]
    judged = sample[sample_rows(len(sample), SILHOUETTE_ROWS, seed)]
    best, best_score = None, -2.0
    with threadpool_limits(1):
        for k in range(2, min(max_topics, len(np.unique(judged, axis=0)) - 1) + 1):
            model = KMeans(k, n_init=2, random_state=seed).fit(sample)
            found = model.predict(judged)
            score = float(silhouette_score(judged, found)) if len(set(found)) > 1 else -1.0
            if score > best_score + 1e-9:
                best, best_score = model, score
        clusters = best.predict(points).tolist() if best is not None else [0] * len(texts)
    words: dict[int, Counter[str]] = {}
    for cluster, heavy in zip(clusters, heaviest, strict=True):
        words.setdefault(cluster, Counter()).update(heavy)
    order = sorted(words, key=lambda cluster: (-clusters.count(cluster), cluster))
    names = {
        cluster: f"topic {place}: "
        + " ".join(word for word, _ in sorted(words[cluster].items(), key=lambda item: (-item[1], item[0]))[:3])
        for place, cluster in enumerate(order, 1)
    }
    return [names[cluster] for cluster in clusters]
