"""The other side of `cleaning.py`: datatrove's filters and datasketch's MinHash, where they are installed.

    python cleaning_peers.py rules TEXTS.json PROCESSES     the four quality filters, in FineWeb's order
    python cleaning_peers.py minhash TEXTS.json             MinHash LSH over word 3-grams, candidates verified

Prints one JSON object. Imports and first calls are not timed.
"""

from __future__ import annotations

import json
import re
import sys
import time
from multiprocessing import Pool
from pathlib import Path


def filters() -> list:
    from datatrove.pipeline.filters import (
        C4QualityFilter,
        FineWebQualityFilter,
        GopherQualityFilter,
        GopherRepetitionFilter,
    )

    return [GopherRepetitionFilter(), GopherQualityFilter(), C4QualityFilter(), FineWebQualityFilter()]


FILTERS: list = []


def prepare() -> None:
    FILTERS.extend(filters())
    for number in range(3):
        judge(f"The first text of {number} is read before the clock runs, and that is the end of it.\n" * 9)


def judge(text: str) -> tuple[str | None, list[str | None]]:
    """(reason of the first filter in turn that rejects, reason of each filter alone)."""
    from datatrove.data import Document

    document = Document(text=text, id="0")
    for one in FILTERS:
        found = one.filter(document)
        if found is not True:
            return (found[1] if isinstance(found, tuple) else "rejected"), []
    return None, []


def judge_each(text: str) -> list[str | None]:
    from datatrove.data import Document

    results = [one.filter(Document(text=text, id="0")) for one in FILTERS]
    return [None if found is True else found[1] for found in results]


def rules(texts: list[str], processes: int) -> dict:
    with Pool(processes, initializer=prepare) as pool:
        pool.map(judge, texts[: 8 * processes], chunksize=4)
        started = time.perf_counter()
        reasons = [reason for reason, _ in pool.map(judge, texts, chunksize=50)]
        seconds = time.perf_counter() - started
        each = pool.map(judge_each, texts, chunksize=50)
    return {"seconds": seconds, "reasons": reasons, "each": each}


def minhash(texts: list[str]) -> dict:
    from datasketch import MinHash, MinHashLSH

    words = [re.sub(r"[\W_]+", " ", text.lower()).split() for text in texts]
    started = time.perf_counter()
    sets = [{" ".join(each[i : i + 3]) for i in range(max(len(each) - 2, 1))} for each in words]
    index = MinHashLSH(threshold=0.7, num_perm=128)
    kept, pairs = [], []
    for row, grams in enumerate(sets):
        signature = MinHash(num_perm=128)
        signature.update_batch([gram.encode() for gram in grams])
        for other in sorted(index.query(signature)):
            if len(grams & sets[other]) / len(grams | sets[other]) >= 0.7:
                pairs.append((row, other))
                break
        else:
            index.insert(row, signature)
            kept.append(row)
    return {"seconds": time.perf_counter() - started, "pairs": pairs}


if __name__ == "__main__":
    corpus = json.loads(Path(sys.argv[2]).read_text())
    print(json.dumps(rules(corpus, int(sys.argv[3])) if sys.argv[1] == "rules" else minhash(corpus)))
