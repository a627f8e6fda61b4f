"""Texts as points: TF-IDF reduced by a truncated SVD (latent semantic analysis), for topics and for SMOTE."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

FIT_ROWS, READ = 20_000, 2000  # texts a fit is made of at most; characters of a text that count


def stable_draw(*parts: object) -> float:
    """A number in [0, 1) from the hash of `parts`: the same in every process, whatever else was drawn before."""
    digest = hashlib.sha256("\n".join(str(part) for part in parts).encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def sample_rows(count: int, limit: int, seed: int) -> list[int]:
    """At most `limit` of `count` row numbers, in order, drawn by `seed`."""
    import numpy as np

    if count <= limit:
        return list(range(count))
    chosen: list[int] = np.sort(np.random.default_rng(seed).permutation(count)[:limit]).tolist()
    return chosen


@dataclass(frozen=True)
class TextFeatures:
    """Fitted features of the beginnings of texts. vectorizer: None where the sample had no word."""

    vectorizer: Any
    svd: Any

    def points(self, texts: Sequence[str]) -> tuple[np.ndarray, list[list[str]]]:
        """(float64 [texts, d] of unit or zero length; of each text its three heaviest words)."""
        import numpy as np
        from sklearn.preprocessing import normalize
        from threadpoolctl import threadpool_limits

        if self.vectorizer is None:
            return np.zeros((len(texts), 1)), [[] for _ in texts]
        if not texts:
            return np.zeros((0, self.svd.n_components if self.svd else len(self.vectorizer.vocabulary_))), []
        words, heaviest = self.vectorizer.get_feature_names_out(), []
        with threadpool_limits(1):
            part = self.vectorizer.transform([text[:READ] for text in texts])
            points: np.ndarray = normalize(self.svd.transform(part) if self.svd else part.toarray())
        for row in range(part.shape[0]):
            values = part.data[part.indptr[row] : part.indptr[row + 1]]
            places = part.indices[part.indptr[row] : part.indptr[row + 1]]
            heaviest.append([str(words[places[at]]) for at in np.lexsort((places, -values))[:3]])
        return points, heaviest


def fit_features(sample: Sequence[str], dimensions: int, seed: int) -> TextFeatures:
    """Features of at most `dimensions`, in one thread, so that equal texts give equal bits on any number of cores.

    sample: `FIT_ROWS` texts are enough.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from threadpoolctl import threadpool_limits

    vectorizer = TfidfVectorizer(
        sublinear_tf=True, min_df=2 if len(sample) >= 50 else 1, max_features=20_000, stop_words="english"
    )
    try:
        matrix = vectorizer.fit_transform([text[:READ] for text in sample])
    except ValueError:  # no word is left of these texts
        return TextFeatures(None, None)
    with threadpool_limits(1):
        width = min(dimensions, matrix.shape[1] - 1, matrix.shape[0] - 1)
        return TextFeatures(vectorizer, TruncatedSVD(width, random_state=seed).fit(matrix) if width >= 2 else None)
