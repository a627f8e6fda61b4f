"""Labels that are probably wrong: confident learning (Northcutt et al. 2021, by cleanlab).

Each text's class is predicted by a model that did not see it: TF-IDF, and the mean of a logistic regression and a naive
Bayes classifier, cross-validated together. What contradicts the label, given how sure the model usually is of each
class, may be a label error. Of these only those stay whose own label has small odds against the model's: how probable
the given label is tells errors from hard texts far better than how sure the model is of its own.

Of more than FIT_ROWS texts the models are made of a sample, and only the first READ characters of a text count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.data.clean_config import LabelErrorsConfig
from llm_assets.data.features import FIT_ROWS, READ

if TYPE_CHECKING:
    import pyarrow as pa

FEATURES = 2**18
LEAST = 50  # rows of a class in a sample, if it has so many


@dataclass(frozen=True)
class LabelErrors:
    """rows: int64, the least probable label first; labels: what the model says instead; confidence: float64."""

    rows: np.ndarray
    labels: list[str]
    confidence: np.ndarray


def find_label_errors(
    texts: Callable[[], Iterable[pa.Array]], labels: pa.Array, config: LabelErrorsConfig, seed: int = 0
) -> LabelErrors:
    """Rows whose label is probably wrong. `texts` gives columns, in the order of `labels` (strings), at each call.

    Rows without a label, and labels of fewer rows than folds, are not judged; with less than two labels nothing is.
    In memory are a label and the probabilities of a row, and features of a sample.
    """
    from cleanlab.filter import find_label_issues

    coded = labels.dictionary_encode()
    names, codes = coded.dictionary.to_pylist(), coded.indices.fill_null(len(coded.dictionary)).to_numpy()
    counts = np.bincount(codes, minlength=len(names) + 1).tolist()
    classes = sorted(name for name, count in zip(names, counts, strict=False) if name and count >= config.folds)
    if len(classes) < 2:
        return LabelErrors(np.zeros(0, dtype=np.int64), [], np.zeros(0))
    number = {name: place for place, name in enumerate(classes)}
    given = np.array([*(number.get(name, -1) for name in names), -1])[codes]
    judged = np.flatnonzero(given >= 0)
    given = given[judged]
    probabilities = _probabilities(texts, judged, given, len(classes), config.folds, seed)
    found = find_label_issues(given, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    rather = probabilities[found].argmax(axis=1)
    odds_hold = probabilities[found, rather] >= config.min_odds * probabilities[found, given[found]]
    keep = (rather != given[found]) & odds_hold
    found, rather = found[keep], rather[keep]
    return LabelErrors(judged[found], [classes[number] for number in rather], probabilities[found, rather])


def _probabilities(
    texts: Callable[[], Iterable[pa.Array]], rows: np.ndarray, given: np.ndarray, classes: int, folds: int, seed: int
) -> np.ndarray:
    """The probability of each class for each of `rows`, by models that did not see it: float64 [rows, classes].

    Those of a sample are told by cross-validation, all others by a model of the sample.
    """
    from scipy.sparse import csr_matrix, vstack
    from sklearn.feature_extraction.text import TfidfTransformer

    sample = _sample(given, seed)
    counts = vstack([csr_matrix((0, FEATURES)), *(part for _, part in _counts(texts(), rows[sample]))], format="csc")
    telling = np.diff(counts.indptr) > 1  # what only one text has tells nothing of others
    tfidf = TfidfTransformer(sublinear_tf=True)
    features = tfidf.fit_transform(counts[:, telling].tocsr())
    del counts
    found = np.empty((len(rows), classes))
    found[sample] = _cross_validated(features, given[sample], folds, seed)
    if len(sample) < len(rows):
        model = _classifier(seed).fit(features, given[sample])
        others = np.setdiff1d(np.arange(len(rows)), sample)
        for places, part in _counts(texts(), rows[others]):
            found[others[places]] = model.predict_proba(tfidf.transform(part[:, telling]))
    return found


def _sample(given: np.ndarray, seed: int) -> np.ndarray:
    """Places of some FIT_ROWS rows, ascending: of each class its share, or LEAST if that is more."""
    if len(given) <= FIT_ROWS:
        return np.arange(len(given))
    drawn = np.random.default_rng(seed).permutation(len(given))
    drawn = drawn[np.argsort(given[drawn], kind="stable")]
    counts = np.bincount(given)
    rank = np.arange(len(given)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.maximum(counts * FIT_ROWS // len(given), LEAST)
    return np.sort(drawn[rank < np.repeat(wanted, counts)])


def _counts(texts: Iterable[pa.Array], rows: np.ndarray) -> Iterator[tuple[np.ndarray, Any]]:
    """(places in `rows`, counts of their words and pairs of words, sparse), column by column and without vocabulary."""
    import pyarrow.compute as pc
    from sklearn.feature_extraction.text import HashingVectorizer

    hashing = HashingVectorizer(n_features=FEATURES, alternate_sign=False, norm=None, ngram_range=(1, 2))
    first = 0
    for column in texts:
        begin, end = np.searchsorted(rows, [first, first + len(column)])
        if begin < end:
            chosen = pc.utf8_slice_codeunits(column.take(rows[begin:end] - first), 0, READ)
            yield np.arange(begin, end), hashing.transform(pc.fill_null(chosen, "").to_pylist())
        first += len(column)


def _classifier(seed: int) -> Any:
    from sklearn.ensemble import VotingClassifier
    from sklearn.linear_model import SGDClassifier
    from sklearn.naive_bayes import MultinomialNB

    # Regularised enough not to learn wrong labels by heart.
    linear, bayes = SGDClassifier(loss="log_loss", alpha=1e-4, random_state=seed), MultinomialNB(alpha=0.1)
    return VotingClassifier([("linear", linear), ("bayes", bayes)], voting="soft")


def _cross_validated(features: Any, given: np.ndarray, folds: int, seed: int) -> np.ndarray:
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    parts = StratifiedKFold(folds, shuffle=True, random_state=seed)
    return np.asarray(cross_val_predict(_classifier(seed), features, given, cv=parts, method="predict_proba"))
