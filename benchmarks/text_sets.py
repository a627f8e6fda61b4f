"""Public labelled texts, an honest cheap learner, and the table and the bar that both benchmarks share."""

from __future__ import annotations

import csv
import os
import random
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from llm_assets.data.rows import documents_table, text_hash

Pairs = list[tuple[str, str]]
Scores = tuple[float, float]  # macro-F1 on the half that chooses and on the half that judges
FAMILIES = {
    "top_up": ("top_up", "topping_up"),
    "transfer": ("transfer", "beneficiary", "receiving"),
    "cash": ("cash", "atm"),
    "exchange": ("exchange", "currenc", "fiat"),
    "identity": ("verify", "identity", "personal", "age_limit", "country", "terminate", "source"),
    "secret": ("pin", "passcode", "phone"),
    "card": ("card", "visa", "contactless", "apple"),
    "charge": ("",),
}


def data_folder() -> Path:
    """$LLM_ASSETS_TEST_DATA, or `../shared/data` from the project's folder; without it there is nothing to measure."""
    folder = Path(os.environ.get("LLM_ASSETS_TEST_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
    if not folder.is_dir():
        sys.exit(f"no data in {folder}: set LLM_ASSETS_TEST_DATA to the folder of public test data")
    return folder


def sms_spam() -> Pairs:
    lines = (data_folder() / "sms_spam" / "sms.tsv").read_text(encoding="utf-8").splitlines()
    return _once((text, label) for label, _, text in (line.partition("\t") for line in lines))


def hate_offensive() -> Pairs:
    with (data_folder() / "hate_offensive" / "labeled_data.csv").open(encoding="utf-8", newline="") as stream:
        return _once((row["tweet"], row["class"]) for row in csv.DictReader(stream))


def ag_news() -> Pairs:
    with (data_folder() / "ag_news" / "test.csv").open(encoding="utf-8", newline="") as stream:
        return _once((f"{row[1]} {row[2]}", row[0]) for row in csv.reader(stream))


def banking(part: str) -> Pairs:
    with (data_folder() / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as stream:
        return _once((row["text"], row["category"]) for row in csv.DictReader(stream))


def family(intent: str) -> str:
    """Which of eight families of intents: no intent alone has 300 rows."""
    return next(name for name, marks in FAMILIES.items() if any(mark in intent for mark in marks))


def split(pairs: Pairs, train_rows: int, seed: int) -> tuple[Pairs, Pairs]:
    """(train, the rest), drawn by seed, each label with its share."""
    rng, by_label = random.Random(seed), defaultdict(list)
    for pair in pairs:
        by_label[pair[1]].append(pair)
    train, rest = [], []
    for _, rows in sorted(by_label.items()):
        rng.shuffle(rows)
        cut = max(1, round(train_rows * len(rows) / len(pairs)))
        train += rows[:cut]
        rest += rows[cut:]
    rng.shuffle(train)
    rng.shuffle(rest)
    return train, rest


def long_tail(pairs: Pairs, most: int, ratio: float, seed: int) -> Pairs:
    """`pairs` cut so that the labels' counts fall geometrically from `most` to `most` / `ratio`."""
    rng, counts, kept = random.Random(seed), Counter(label for _, label in pairs), []
    order = sorted(counts, key=lambda label: (-counts[label], label))
    for place, label in enumerate(order):
        rows = [pair for pair in pairs if pair[1] == label]
        kept += rng.sample(rows, min(len(rows), round(most * ratio ** (-place / (len(order) - 1)))))
    return kept


def documents(pairs: Pairs) -> Any:
    """The pairs as train rows of the document schema."""
    return documents_table(
        [
            {"id": text_hash(f"{at}/{text}"), "text": text, "label": label, "split": "train", "weight": 1.0,
             "source": "benchmark", "uri": f"benchmark:{at}", "licence": "unknown", "content_hash": text_hash(text),
             "parents": [], "steps": []}
            for at, (text, label) in enumerate(pairs)
        ]
    )  # fmt: skip


class Learner:
    """TF-IDF of one and two words and logistic regression; the features are those of the texts as found.

    Of `strengths` (inverse regularisation, C) each score takes the one that is best on the half that chooses.
    """

    def __init__(self, found: Pairs, held_out: Pairs, strengths: Sequence[float] = (10,)) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self._vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), max_features=30_000)
        self._vectorizer.fit([text for text, _ in found])
        self._strengths = strengths
        self._held_out = self.features([text for text, _ in held_out])
        self._truth = [label for _, label in held_out]

    def features(self, texts: Sequence[str]) -> Any:
        return self._vectorizer.transform(texts)

    def score_rows(self, table: Any) -> Scores:
        """Trained on the rows of a document table with their weights."""
        labels, weights = table["label"].to_pylist(), table["weight"].to_numpy()
        return self.score(self.features(table["text"].to_pylist()), labels, weights)

    def score(self, features: Any, labels: Sequence[str], weights: Any = None) -> Scores:
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score

        half, found = len(self._truth) // 2, []
        for strength in self._strengths:
            model = LogisticRegression(C=strength, max_iter=1000).fit(features, list(labels), sample_weight=weights)
            said = model.predict(self._held_out).tolist()
            one, other = (
                float(f1_score(self._truth[part], said[part], average="macro", zero_division=0))
                for part in (slice(0, half), slice(half, None))
            )
            found.append((one, other))
        return max(found, key=lambda scores: scores[0])


def report(title: str, results: Mapping[str, Mapping[str, Sequence[Scores]]], controls: Sequence[str] = ()) -> int:
    """Print a table of every choice on every set; the number of sets on which the chosen one does not beat `none`.

    The choice is made by the mean over seeds on one half of the held-out rows, among all but `none` and `controls`; the
    numbers, and the bar, are of the other half.
    """
    import statistics

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{title}: macro-F1, mean ± standard deviation over seeds (difference to none, seeds won)")
    table.add_column("choice")
    for name in results:
        table.add_column(name, justify="right")
    names = list(next(iter(results.values())))
    chosen = {
        data: max((n for n in names if n != "none" and n not in controls),
                  key=lambda n: statistics.fmean(s[0] for s in found[n]))
        for data, found in results.items()
    }  # fmt: skip
    for name in names:
        cells = []
        for data, found in results.items():
            judged, none = ([scores[1] for scores in found[which]] for which in (name, "none"))
            cell = f"{statistics.fmean(judged):.4f} ± {statistics.stdev(judged):.4f}"
            if name != "none":
                won = sum(a > b for a, b in zip(judged, none, strict=True))
                cell += f" ({statistics.fmean(judged) - statistics.fmean(none):+.4f}, {won}/{len(none)})"
            cells.append(f"[bold]{cell} ◂[/bold]" if chosen[data] == name else cell)
        table.add_row(name, *cells)
    console = Console(width=max(120, 40 + 40 * len(results)))
    console.print(table)
    missed = 0
    for data, found in results.items():
        best, none = (statistics.fmean(s[1] for s in found[which]) for which in (chosen[data], "none"))
        met = best > none
        missed += not met
        console.print(f"{data}: {chosen[data]} {best:.4f} against none {none:.4f}: {'met' if met else 'MISSED'}")
    return missed


def _once(pairs: Any) -> Pairs:
    return list(dict(pairs).items())
