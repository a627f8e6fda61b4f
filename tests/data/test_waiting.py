"""What waits between the two passes of cleaning is read back as it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from llm_assets.data.clean_batch import clean_batch
from llm_assets.data.config import CleanConfig, NearDuplicateConfig
from llm_assets.data.rows import documents_table, text_hash
from llm_assets.data.waiting import Waiting


@pytest.mark.parametrize("size", [3, 1000])
def test_what_waits_between_the_passes_is_read_back_by_column_and_by_row(tmp_path: Path, size: int) -> None:
    texts = [f"Report number {n} says that the river rose by {n} feet and fell again." for n in range(40)]
    table = documents_table(
        [
            {"id": text_hash(text), "text": text, "source": "river", "uri": str(n), "label": "wet" if n % 3 else None}
            for n, text in enumerate(texts)
        ]
    )
    with Waiting(tmp_path, NearDuplicateConfig()) as waiting:
        for batch in table.to_batches(max_chunksize=size):
            waiting.add(clean_batch(CleanConfig().model_dump_json(), 0, batch))
    assert waiting.rows_in == len(texts)
    assert waiting.narrow()["label"].to_pylist() == table["label"].to_pylist()
    rows = np.array([39, 0, 7, 7, 21])
    assert waiting.ids(rows).to_pylist() == [text_hash(texts[row]) for row in rows]
    assert waiting.ids(rows[:0]).to_pylist() == []
    assert [batch["raw"].null_count for batch in waiting.batches()] == [len(b) for b in waiting.batches()]
