"""Documents as instructions: a rendered prompt and the answer a model should give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llm_assets.prompts.templates import PromptTemplate, render_prompt

if TYPE_CHECKING:
    import pyarrow as pa

# task -> (column the prompt shows, column the answer is)
COLUMNS = {"route": ("text", "label"), "summarise": ("body", "summary")}
TASKS = tuple(COLUMNS)


@dataclass(frozen=True)
class Example:
    """One prompt (rendered chat text) with its reference answer; `weight` multiplies its loss."""

    prompt: str
    answer: str
    task: str
    weight: float
    document_id: str


def instruction_examples(
    documents: pa.Table, templates: Mapping[str, PromptTemplate], tasks: Sequence[str] = TASKS
) -> list[Example]:
    """Every usable row as an example of every task of `tasks` that has a template, task by task in row order.

    A row is usable when it has both the text and the answer of the task. A null weight counts as 1.
    """
    ids = documents["id"].to_pylist()
    weights = documents["weight"].to_pylist()
    found: list[Example] = []
    for task in tasks:
        if task not in templates:
            continue
        source, target = COLUMNS[task]
        rows = zip(ids, weights, documents[source].to_pylist(), documents[target].to_pylist(), strict=True)
        found += [
            Example(render_prompt(templates[task], text), answer, task, 1.0 if weight is None else weight, row)
            for row, weight, text, answer in rows
            if text and answer
        ]
    return found
