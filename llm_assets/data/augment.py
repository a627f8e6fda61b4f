"""Easy data augmentation (EDA: Wei and Zou, EMNLP 2019, arXiv:1901.11196) of the train split.

Four operations, each changing a share alpha of a text's words: replacing by a synonym, inserting a synonym of a word
at a random place, swapping two words, deleting a word. The randomness of a row comes from the seed and its id, so a
row is augmented alike whatever else is in the table.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import DOCUMENTS, Progress, Summary, no_progress, read_table, write_table
from llm_assets.data.config import AugmentConfig, Operation
from llm_assets.data.rows import document_id, documents_table, text_hash
from llm_assets.data.thesaurus import synonyms

if TYPE_CHECKING:
    import pyarrow as pa

Words = list[str]


def augment_text(text: str, operation: Operation, alpha: float, rng: random.Random) -> str | None:
    """`text` (its white space made single spaces) after one operation, or None when that changes nothing."""
    words = text.split()
    if len(words) < 2 or alpha <= 0:
        return None
    changed = OPERATIONS[operation](list(words), max(1, round(alpha * len(words))), rng)
    return " ".join(changed) if changed and changed != words else None


def augment_table(
    documents: pa.Table, config: AugmentConfig, seed: int = 0, progress: Progress = no_progress
) -> pa.Table:
    """The train split and its augmented copies behind it.

    A copy keeps the label, the licence and the weight, names its parent, and has neither summary nor body: only the
    label is known to survive the changes.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    train = documents.filter(pc.equal(documents["split"], "train"))
    made: list[dict[str, Any]] = []
    for number, row in enumerate(train.to_pylist()):
        if number % 1000 == 0:
            progress(number, train.num_rows, f"{len(made):,} rows made")
        if row["label"] is not None and _draw(row["id"], seed) < config.share and config.operations:
            made += _copies(row, config, seed)
    progress(train.num_rows, train.num_rows, f"{len(made):,} rows made")
    return pa.concat_tables([train, documents_table(made)]) if made else train


def augment_documents(
    cleaned: Path, out: Path, config: AugmentConfig, seed: int = 0, progress: Progress = no_progress
) -> Summary:
    """Write `documents.parquet`: train rows and augmented ones."""
    started = time.perf_counter()
    documents = read_table(cleaned / DOCUMENTS)
    table = augment_table(documents, config, seed, progress)
    write_table(table, out / DOCUMENTS)
    held_out = {
        content
        for content, split in zip(documents["content_hash"].to_pylist(), documents["split"].to_pylist(), strict=True)
        if split != "train"
    }
    texts = dict(zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True))
    added = [row for row in table.select(["id", "text", "parents", "steps", "label"]).to_pylist() if row["parents"]]
    operations = Counter(row["steps"][-1] for row in added)
    samples = []
    for operation in sorted(operations):
        row = next(row for row in added if row["steps"][-1] == operation)
        samples.append({"operation": operation, "before": texts[row["parents"][0]][:200], "after": row["text"][:200]})
    return Summary(
        metrics={
            "rows": table.num_rows,
            "train_rows": table.num_rows - len(added),
            "augmented_rows": len(added),
            "augmented_share": len(added) / max(table.num_rows, 1),
            "orphans": sum(row["parents"][0] not in texts for row in added),
            "held_out_texts": sum(content in held_out for content in table["content_hash"].to_pylist()),
            "rows_per_second": round(table.num_rows / max(time.perf_counter() - started, 1e-9)),
        },
        bars={
            "Augmented rows per operation": dict(sorted(operations.items())),
            "Augmented rows per label": dict(Counter(str(row["label"]) for row in added).most_common(30)),
        },
        samples=samples,
        note="Train split only: what is held out is never augmented, so scores stay comparable.",
    )


def _draw(identity: str, seed: int) -> float:
    """A number in [0, 1) that a row keeps."""
    digest = hashlib.sha256(f"augment\n{seed}\n{identity}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _copies(row: dict[str, Any], config: AugmentConfig, seed: int) -> list[dict[str, Any]]:
    made, seen = [], {row["text"]}
    start = int(_draw(row["id"], seed + 1) * len(config.operations))  # which operation comes first
    short = " ".join(row["text"].split()[: config.max_words])
    for copy in range(config.copies):
        operation = config.operations[(start + copy) % len(config.operations)]
        rng = random.Random(f"{seed}/{row['id']}/{copy}")
        text = augment_text(short, operation, config.alpha, rng)
        if text is None or text in seen:
            continue
        seen.add(text)
        uri = f"{row['uri']}+{operation}{copy + 1}"
        made.append(
            {
                **row,
                "id": document_id(row["source"], uri + row["id"]),
                "uri": uri,
                "text": text,
                "summary": None,
                "body": None,
                "content_hash": text_hash(text),
                "parents": [row["id"]],
                "steps": [*row["steps"], operation],
            }
        )
    return made


def _bare(word: str) -> tuple[str, str, str]:
    """A word and the punctuation on both sides of it."""
    start, end = 0, len(word)
    while start < end and not word[start].isalnum():
        start += 1
    while end > start and not word[end - 1].isalnum():
        end -= 1
    return word[:start], word[start:end], word[end:]


def _replaceable(words: Words) -> list[int]:
    known = synonyms()
    return [place for place, word in enumerate(words) if _bare(word)[1].lower() in known]


def _synonym(word: str, rng: random.Random) -> str:
    before, bare, after = _bare(word)
    choice = rng.choice(synonyms()[bare.lower()])
    if bare.isupper() and len(bare) > 1:
        choice = choice.upper()
    elif bare[:1].isupper():
        choice = choice.capitalize()
    return before + choice + after


def _replace(words: Words, count: int, rng: random.Random) -> Words:
    places = _replaceable(words)
    for place in rng.sample(places, min(count, len(places))):
        words[place] = _synonym(words[place], rng)
    return words


def _insert(words: Words, count: int, rng: random.Random) -> Words:
    places = _replaceable(words)
    new = [_bare(_synonym(words[place], rng))[1].lower() for place in rng.sample(places, min(count, len(places)))]
    for word in new:
        words.insert(rng.randint(0, len(words)), word)
    return words


def _swap(words: Words, count: int, rng: random.Random) -> Words:
    for _ in range(count):
        left, right = rng.sample(range(len(words)), 2)
        words[left], words[right] = words[right], words[left]
    return words


def _delete(words: Words, count: int, rng: random.Random) -> Words:
    gone = set(rng.sample(range(len(words)), min(count, len(words) - 1)))
    return [word for place, word in enumerate(words) if place not in gone]


OPERATIONS: dict[Operation, Callable[[Words, int, random.Random], Words]] = {
    "synonym": _replace,
    "insert": _insert,
    "swap": _swap,
    "delete": _delete,
}
