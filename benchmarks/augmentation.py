"""Every local augmentation operation at 500 training texts: `python benchmarks/augmentation.py`, or
`make bench-augmentation`.

The bar: on three of the four sets the best operation beats none in macro-F1. Exits with 1 where it does not.
Synonyms are WordNet's where /usr/share/wordnet or $WORDNET holds one, else those that ship with the project. `repeat`
is a control: as many rows as the operations make, unchanged; what it gains is no gain of augmentation. For the same
reason each choice has its own strength of regularisation, the best on the half of the held-out rows that chooses.
"""

from __future__ import annotations

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import text_sets as sets

from llm_assets.data.augment import augment_table
from llm_assets.data.augment.config import AugmentConfig, CutMix, Edit, FilterConfig, Operation, SynonymsConfig

SEEDS, ROWS, COPIES, HELD_OUT = 5, 500, 4, 6000
STRENGTHS = (1.0, 10.0, 100.0, 1000.0)  # or copies would gain by less regularisation alone, as `repeat` does
WORDNET = os.environ.get("WORDNET") or "/usr/share/wordnet"
SYNONYMS = SynonymsConfig(wordnet=WORDNET if (Path(WORDNET) / "index.noun").is_file() else None, senses=2)
EDITS: list[Operation] = [Edit(kind="synonym"), Edit(kind="insert"), Edit(kind="swap"), Edit(kind="delete")]
OPERATIONS: dict[str, list[Operation]] = {
    "synonym": [Edit(kind="synonym", alpha=0.2)],
    "insert": [Edit(kind="insert", alpha=0.1)],
    "swap": [Edit(kind="swap", alpha=0.1)],
    "delete": [Edit(kind="delete", alpha=0.1)],
    "delete, alpha 0.3": [Edit(kind="delete", alpha=0.3)],
    "delete, alpha 0.5": [Edit(kind="delete", alpha=0.5)],
    "EDA (all four)": EDITS,
    "CutMix": [CutMix()],
}
SETS = {
    "sms_spam": sets.sms_spam,
    "hate_offensive": sets.hate_offensive,
    "ag_news": sets.ag_news,
    "banking77": lambda: sets.banking("train"),
}
WANTED = 3


def measure(name: str, seed: int) -> dict[str, sets.Scores]:
    """operation -> scores, of one set and seed."""
    import pyarrow as pa
    from threadpoolctl import threadpool_limits

    train, held_out = sets.split(SETS[name](), ROWS, seed)
    learner, documents = sets.Learner(train, held_out[:HELD_OUT], STRENGTHS), sets.documents(train)
    with threadpool_limits(1):
        found = {
            "none": learner.score_rows(documents),
            "repeat": learner.score_rows(pa.concat_tables([documents] * (1 + COPIES))),
        }
        for operation, steps in OPERATIONS.items():
            config = AugmentConfig(
                operations=steps, share=1, copies=COPIES, synonyms=SYNONYMS, filters=FilterConfig(keep_label=False)
            )
            found[operation] = learner.score_rows(augment_table(documents, config, seed)[0])
        config = AugmentConfig(operations=EDITS, share=1, copies=COPIES, synonyms=SYNONYMS)
        found["EDA, label check"] = learner.score_rows(augment_table(documents, config, seed)[0])
    return found


def main() -> int:
    jobs = [(name, seed) for name in SETS for seed in range(SEEDS)]
    with ProcessPoolExecutor(2) as pool:
        measured = list(pool.map(measure, *zip(*jobs, strict=True)))
    results = {
        name: {
            operation: [found[operation] for (of, _), found in zip(jobs, measured, strict=True) if of == name]
            for operation in measured[0]
        }
        for name in SETS
    }
    print(f"{ROWS} train texts, {COPIES} copies of each, synonyms from {SYNONYMS.wordnet or 'the shipped list'}")
    missed = sets.report("Augmentation", results, controls=["repeat"])
    return int(len(SETS) - missed < WANTED)


if __name__ == "__main__":
    sys.exit(main())
