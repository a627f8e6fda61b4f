"""A sample of a split as prompts with their reference answers: what alignment, compression and evaluation
measure on.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import DOCUMENTS, REPORT, read_json, read_table
from llm_assets.prompts import PromptTemplate, base_template, best_template, load_templates
from llm_assets.training.instructions import COLUMNS, Example, instruction_examples

if TYPE_CHECKING:
    import pyarrow as pa


def split_rows(folder: Path, split: str) -> pa.Table:
    """The rows of one split of a documents artifact, in its order."""
    import pyarrow.compute as pc

    table = read_table(folder / DOCUMENTS)
    return table.filter(pc.equal(table["split"], split))


def sample_examples(
    rows: pa.Table, templates: Mapping[str, PromptTemplate], limits: Mapping[str, int], seed: int
) -> list[Example]:
    """At most `limits[task]` examples of every task of `limits`, drawn by `seed`, task by task in the rows'
    order.

    A task without a template or without rows (a recipe's own labelled texts have no summaries) gives none.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    found: list[Example] = []
    for task, limit in sorted(limits.items()):
        if task not in templates:
            continue
        usable = rows
        for column in COLUMNS[task]:
            usable = usable.filter(pc.is_valid(usable[column]))
        chosen = np.random.default_rng(seed).permutation(usable.num_rows)[:limit]
        subset = usable.take(pa.array(np.sort(chosen)))
        found.extend(instruction_examples(subset, {task: templates[task]}, [task]))
    return found


def base_templates(library: Path) -> dict[str, PromptTemplate]:
    """task -> the zero-shot template that models are trained in, for every task of a `prompt_library`."""
    tasks = sorted({template.task for template in load_templates(library)})
    return {task: base_template(library, task) for task in tasks}


def best_templates(optimized: Path) -> dict[str, PromptTemplate]:
    """task -> the template that won, for every task of an `optimized_prompt`."""
    return {task: best_template(optimized, task) for task in sorted(read_json(optimized / REPORT)["best"])}
