"""Which augmented rows are dropped again: copies of their parents, and rows that changed their label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from llm_assets.data.augment.config import FilterConfig
from llm_assets.data.features import sample_rows

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
WORD = re.compile(r"\w+")


def drop_copies(made: Sequence[Row], parent_texts: dict[str, str], min_change: float) -> tuple[list[Row], int]:
    """(rows that stay, number dropped): those that differ from every parent in more than `min_change` of the words."""
    kept = [
        row for row in made if all(_changed(row["text"], parent_texts[name], min_change) for name in row["parents"])
    ]
    return kept, len(made) - len(kept)


def word_change(text: str, parent: str) -> float:
    """The share of words that two texts do not have in common (0: the same words, as often; 1: none)."""
    one, other = Counter(WORD.findall(text.casefold())), Counter(WORD.findall(parent.casefold()))
    longer = max(one.total(), other.total())
    return 1 - (one & other).total() / longer if longer else 0.0


def _changed(text: str, parent: str, min_change: float) -> bool:
    if WORD.findall(text.casefold()) == WORD.findall(parent.casefold()):
        return False
    return min_change == 0 or word_change(text, parent) >= min_change


class LabelCheck:
    """A classifier of the train split (TF-IDF of words, logistic loss) that tells whether a text kept its label."""

    def __init__(self, train: pa.Table, config: FilterConfig, seed: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import SGDClassifier

        self.margin = config.margin
        labelled = [
            (text, label)
            for text, label in zip(train["text"].to_pylist(), train["label"].to_pylist(), strict=True)
            if label is not None and text
        ]
        chosen = [labelled[row] for row in sample_rows(len(labelled), config.train_rows, seed)]
        self.useful = len({label for _, label in chosen}) > 1
        if self.useful:
            self._vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=50_000)
            self._model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=10, tol=None, random_state=seed)
            self._model.fit(self._vectorizer.fit_transform([t for t, _ in chosen]), [label for _, label in chosen])

    def drop_changed(self, made: Sequence[Row], parent_texts: dict[str, str]) -> tuple[list[Row], int]:
        """(rows that stay, number dropped). Rows with a soft label, or a parent it gets wrong, are not judged."""
        import numpy as np

        judged = [row for row in made if len(row["parents"]) == 1]
        if not self.useful or not judged:
            return list(made), 0
        place = {label: at for at, label in enumerate(self._model.classes_.tolist())}
        of_texts = self._probabilities([row["text"] for row in judged])
        of_parents = self._probabilities([parent_texts[row["parents"][0]] for row in judged])
        gone = set()
        for row, text, parent in zip(judged, of_texts, of_parents, strict=True):
            own = place.get(row["label"])
            if own is None or int(np.argmax(parent)) != own:
                continue
            if int(np.argmax(text)) != own and text.max() - text[own] > self.margin:
                gone.add(row["id"])
        return [row for row in made if row["id"] not in gone], len(gone)

    def _probabilities(self, texts: Sequence[str]) -> Any:
        return self._model.predict_proba(self._vectorizer.transform(texts))
