"""One variant on one set of examples: quality, slices, size, and (apart, since it is never the same twice)
latency.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.alignment.overlap import rouge_l, token_f1
from llm_assets.alignment.pairs import answer_lengths
from llm_assets.artifacts import Progress, no_progress
from llm_assets.compression.export import model_bytes
from llm_assets.compression.measure import decide
from llm_assets.inference import load_generator
from llm_assets.prompts import PromptTemplate

if TYPE_CHECKING:
    from llm_assets.training.instructions import Example

CONFUSIONS = 12


def route_scores(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, Any]:
    """Accuracy, macro-F1 over the labels that occur, per label support, recall, precision and F1, and what
    is most often taken for what."""
    labels = sorted(set(truth))
    pairs = Counter(zip(truth, predicted, strict=True))
    said = Counter(predicted)
    per_label = {}
    for label in labels:
        support, right = truth.count(label), pairs[label, label]
        recall, precision = right / support, right / said[label] if said[label] else 0.0
        f1 = 2 * right / (support + said[label])
        per_label[label] = {
            "support": support,
            "recall": round(recall, 4),
            "precision": round(precision, 4),
            "f1": round(f1, 4),
        }
    wrong = sorted((-count, *pair) for pair, count in pairs.items() if pair[0] != pair[1])
    return {
        "accuracy": round(sum(pairs[label, label] for label in labels) / len(truth), 4),
        "macro_f1": round(float(np.mean([slice_["f1"] for slice_ in per_label.values()])), 4),
        "per_label": per_label,
        "confusions": [
            {"true": true, "predicted": other, "count": -count} for count, true, other in wrong[:CONFUSIONS]
        ],
    }


def variant_scores(
    folder: Path,
    test: Sequence[Example],
    validation: Sequence[Example],
    templates: Mapping[str, PromptTemplate],
    max_new_tokens: int,
    perplexity_rows: int,
    threads: int,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Everything about a checkpoint or package that is the same on every run; a task without examples is
    left out.
    """
    answers = decide(folder, [*test, *validation], templates, max_new_tokens, threads, progress)
    scores: dict[str, Any] = {"size_mb": round(model_bytes(folder) / 1e6, 3)}
    routed = [(e.answer, answer) for e, answer in zip(test, answers, strict=False) if e.task == "route"]
    if routed:
        scores |= route_scores([truth for truth, _ in routed], [answer for _, answer in routed])
    summaries = [(answer, e.answer) for e, answer in zip(test, answers, strict=False) if e.task == "summarise"]
    if summaries:
        scores["summary_f1"] = round(float(np.mean([token_f1(*pair) for pair in summaries])), 4)
        scores["summary_rouge_l"] = round(float(np.mean([rouge_l(*pair) for pair in summaries])), 4)
    judged = list(zip(validation, answers[len(test) :], strict=True))
    if judged:
        scores["validation_accuracy"] = round(sum(e.answer == answer for e, answer in judged) / len(judged), 4)
    generator = load_generator(folder, threads)
    for task in sorted({example.task for example in test}):
        sample = [example for example in test if example.task == task][:perplexity_rows]
        losses = generator.answer_loss([e.prompt for e in sample], [e.answer for e in sample])
        name = "perplexity" if task == "route" else f"perplexity_{task}"
        scores[name] = round(float(np.exp(losses.mean())), 3)
    return scores


def latency(folder: Path, examples: Sequence[Example], max_new_tokens: int, threads: int) -> float:
    """Median milliseconds of single routing requests, prompt to whole answer, in this process; 0 without
    examples.
    """
    routed = [example for example in examples if example.task == "route"]
    if not routed:
        return 0.0
    generator = load_generator(folder, threads)
    longest = max(answer_lengths(folder, routed, max_new_tokens))
    generator.generate([routed[0].prompt], longest)
    times = []
    for example in routed:
        started = time.perf_counter()
        generator.generate([example.prompt], longest)
        times.append(time.perf_counter() - started)
    return float(np.median(times) * 1000)
