"""Which augmented rows are dropped again: copies of their parents, and rows that changed their label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from llm_assets.data.augment.config import FilterConfig

Row = dict[str, Any]
WORD = re.compile(r"\w+")


def drop_copies(
    made: Sequence[Row], parent_texts: dict[str, str], min_change: float
) -> tuple[list[Row], list[tuple[Row, str]]]:
    """(rows that stay, rows that go with the id of the parent they copy).

    A row stays that differs from every parent in more than `min_change` of the words.
    """
    kept, gone = [], []
    for row in made:
        copied = [name for name in row["parents"] if not _changed(row["text"], parent_texts[name], min_change)]
        if copied:
            gone.append((row, copied[0]))
        else:
            kept.append(row)
    return kept, gone


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
    """A classifier (TF-IDF of words, logistic loss) that tells whether a text kept its label.

    examples: (text, label) of the train split.
    """

    def __init__(self, examples: Sequence[tuple[str, str]], config: FilterConfig, seed: int) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import SGDClassifier

        self.margin = config.margin
        self._vectorizer = TfidfVectorizer(sublinear_tf=True, max_features=50_000)
        words = self._vectorizer.build_analyzer()
        self.useful = len({label for _, label in examples}) > 1 and any(words(text) for text, _ in examples)
        if self.useful:
            self._model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=10, tol=None, random_state=seed)
            matrix = self._vectorizer.fit_transform([text for text, _ in examples])
            self._model.fit(matrix, [label for _, label in examples])

    def drop_changed(
        self, made: Sequence[Row], parent_texts: dict[str, str]
    ) -> tuple[list[Row], list[tuple[Row, str]]]:
        """(rows that stay, rows that go with the label they seem to have now).

        Rows with a soft label, or a parent it gets wrong, are not judged.
        """
        import numpy as np

        judged = [row for row in made if len(row["parents"]) == 1]
        if not self.useful or not judged:
            return list(made), []
        labels = self._model.classes_.tolist()
        place = {label: at for at, label in enumerate(labels)}
        of_texts = self._probabilities([row["text"] for row in judged])
        of_parents = self._probabilities([parent_texts[row["parents"][0]] for row in judged])
        gone = {}
        for row, text, parent in zip(judged, of_texts, of_parents, strict=True):
            own, seen = place.get(row["label"]), int(np.argmax(text))
            if own is None or int(np.argmax(parent)) != own:
                continue
            if seen != own and text[seen] - text[own] > self.margin:
                gone[row["id"]] = labels[seen]
        return [row for row in made if row["id"] not in gone], [
            (row, gone[row["id"]]) for row in made if row["id"] in gone
        ]

    def _probabilities(self, texts: Sequence[str]) -> Any:
        return self._model.predict_proba(self._vectorizer.transform(texts))
