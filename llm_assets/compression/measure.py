"""What a model decides on a sample, and how two models' decisions compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.alignment.overlap import token_f1
from llm_assets.alignment.pairs import answer_lengths
from llm_assets.artifacts import Progress, no_progress
from llm_assets.inference import load_generator
from llm_assets.prompts import PromptTemplate, parse_answer

if TYPE_CHECKING:
    from llm_assets.training.instructions import Example


def decide(
    folder: Path,
    examples: Sequence[Example],
    templates: Mapping[str, PromptTemplate],
    max_new_tokens: int,
    threads: int,
    progress: Progress = no_progress,
) -> list[str]:
    """The parsed greedy answer of a checkpoint or package to every example, in their order."""
    generator = load_generator(folder, threads)
    lengths = answer_lengths(folder, examples, max_new_tokens)
    answers = [""] * len(examples)
    for task in sorted({example.task for example in examples}):
        rows = [row for row, example in enumerate(examples) if example.task == task]
        thinks = templates[task].technique == "chain_of_thought"
        longest = max_new_tokens if thinks else max(lengths[row] for row in rows)
        texts = generator.generate([examples[row].prompt for row in rows], longest, progress)
        for row, text in zip(rows, texts, strict=True):
            answers[row] = parse_answer(templates[task], text)
    return answers


def accuracy(examples: Sequence[Example], answers: Sequence[str]) -> float:
    """Share of routed examples with the right label; 0 if there are none."""
    right = [answer == e.answer for e, answer in zip(examples, answers, strict=True) if e.task == "route"]
    return float(np.mean(right)) if right else 0.0


def summary_f1(examples: Sequence[Example], answers: Sequence[str]) -> float:
    """Mean token F1 of the summaries; 0 if there are none."""
    scores = [token_f1(answer, e.answer) for e, answer in zip(examples, answers, strict=True) if e.task == "summarise"]
    return float(np.mean(scores)) if scores else 0.0


def agreement(examples: Sequence[Example], one: Sequence[str], other: Sequence[str]) -> dict[str, float]:
    """label -> share of its routed examples on which both models decide alike, and "all" over all of them."""
    same: dict[str, list[bool]] = {}
    for example, left, right in zip(examples, one, other, strict=True):
        if example.task == "route":
            same.setdefault(example.answer, []).append(left == right)
    everything = [value for values in same.values() for value in values]
    shares = {label: float(np.mean(values)) for label, values in sorted(same.items())}
    return {"all": float(np.mean(everything)) if everything else 1.0, **shares}
