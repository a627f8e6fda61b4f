"""Labels that are probably wrong: confident learning (Northcutt et al. 2021, by cleanlab).

Each text's class is predicted by a model that did not see it: TF-IDF, and the mean of a logistic regression and a naive
Bayes classifier, cross-validated together. What contradicts the label, given how sure the model usually is of each
class, may be a label error. Of these only those stay whose own label has small odds against the model's: how probable
the given label is tells errors from hard texts far better than how sure the model is of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.data.clean_config import LabelErrorsConfig

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES = 2**18


@dataclass(frozen=True)
class LabelErrors:
    """rows: int64, the least probable label first; labels: what the model says instead; confidence: float64."""

    rows: np.ndarray
    labels: list[str]
    confidence: np.ndarray


def find_label_errors(
    texts: Iterable[pa.Array], labels: Sequence[str | None], config: LabelErrorsConfig, seed: int = 0
) -> LabelErrors:
    """Rows whose label is probably wrong. `texts` are columns, in the order of `labels`.

    Rows without a label, and labels of fewer rows than folds, are not judged; with less than two labels nothing is.
    """
    from cleanlab.filter import find_label_issues

    counts = Counter(label for label in labels if label)
    classes = sorted(label for label, count in counts.items() if count >= config.folds)
    judged = np.flatnonzero([label in set(classes) for label in labels]) if len(classes) > 1 else np.zeros(0, int)
    features = _tfidf(texts, judged)
    if not len(judged):
        return LabelErrors(judged, [], np.zeros(0))
    code = {label: number for number, label in enumerate(classes)}
    given = np.array([code[labels[row] or ""] for row in judged.tolist()])
    probabilities = _cross_validated(features, given, config.folds, seed)
    found = find_label_issues(given, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    rather = probabilities[found].argmax(axis=1)
    odds_hold = probabilities[found, rather] >= config.min_odds * probabilities[found, given[found]]
    keep = (rather != given[found]) & odds_hold
    found, rather = found[keep], rather[keep]
    return LabelErrors(judged[found], [classes[number] for number in rather], probabilities[found, rather])


def _tfidf(texts: Iterable[pa.Array], rows: np.ndarray) -> Any:
    """TF-IDF of the chosen rows, batch by batch: only counts are in memory, and no vocabulary."""
    from scipy.sparse import csr_matrix, vstack
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

    hashing = HashingVectorizer(n_features=FEATURES, alternate_sign=False, norm=None, ngram_range=(1, 2))
    parts, first = [csr_matrix((0, FEATURES))], 0
    for column in texts:
        begin, end = np.searchsorted(rows, [first, first + len(column)])
        chosen = column.take(rows[begin:end] - first).to_pylist()
        if chosen:
            parts.append(hashing.transform([text or "" for text in chosen]))
        first += len(column)
    counts = vstack(parts, format="csc")
    counts = counts[:, np.diff(counts.indptr) > 1].tocsr()  # what only one text has tells nothing of others
    return TfidfTransformer(sublinear_tf=True).fit_transform(counts) if counts.shape[0] else counts


def _cross_validated(features: Any, given: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The probability of each class for each row, by models that did not see it: float64 [rows, classes]."""
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.naive_bayes import MultinomialNB

    # Regularised enough not to learn wrong labels by heart.
    linear, bayes = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=seed), MultinomialNB(alpha=0.1)
    both = VotingClassifier([("linear", linear), ("bayes", bayes)], voting="soft")
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return np.asarray(cross_val_predict(both, features, given, cv=parts, method="predict_proba"))
