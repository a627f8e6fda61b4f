"""Fine-tuning the pre-trained model on both tasks, measured on validation rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import DOCUMENTS, Progress, Summary, no_progress, read_table
from llm_assets.inference import torch_setup
from llm_assets.inference.torch_generator import TorchGenerator
from llm_assets.models.llama import load_model, parameter_counts, save_checkpoint
from llm_assets.models.tokenizer import load_tokenizer
from llm_assets.prompts.templates import base_template, load_templates, parse_answer
from llm_assets.training.config import TrainingConfig
from llm_assets.training.instructions import TASKS, Example, instruction_examples
from llm_assets.training.trainer import fine_tune

if TYPE_CHECKING:
    from llm_assets.prompts.templates import PromptTemplate

SUMMARY_TOKENS, SAMPLES = 24, 5


def finetune_model(
    pretrained: Path,
    balanced: Path,
    cleaned: Path,
    prompts: Path,
    out: Path,
    config: TrainingConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write `out` as a checkpoint. Trains on the balanced train split; measures on cleaned validation rows."""
    import numpy as np
    import pyarrow.compute as pc

    torch_setup(seed, threads)
    tokenizer, model = load_tokenizer(pretrained), load_model(pretrained)
    known = {template.task for template in load_templates(prompts)}
    templates = {task: base_template(prompts, task) for task in TASKS if task in known}
    train = instruction_examples(read_table(balanced / DOCUMENTS), templates)
    documents = read_table(cleaned / DOCUMENTS)
    validation = instruction_examples(documents.filter(pc.equal(documents["split"], "validation")), templates)
    random = np.random.default_rng(seed)
    measured = {
        task: [rows[at] for at in np.sort(random.permutation(len(rows))[: config.validation_rows])]
        for task in templates
        if (rows := [example for example in validation if example.task == task])
    }
    generator = TorchGenerator.wrap(model, tokenizer)
    before = {task: _loss(generator, rows) for task, rows in measured.items()}
    curves = fine_tune(model, tokenizer, train, config, seed, progress)
    after = {task: _loss(generator, rows) for task, rows in measured.items()}
    save_checkpoint(model, tokenizer, out)
    summary = Summary(
        metrics={
            "training_loss": curves.loss[-1][1],
            "steps": config.steps,
            "examples": len(train),
            "tokens": curves.tokens,
            "tokens_per_second": round(curves.tokens_per_second),
            **parameter_counts(model),
            **{f"validation_loss_{task}": loss for task, loss in after.items()},
            **{f"loss_below_start_{task}": before[task] - loss for task, loss in after.items()},
            "loss_is_finite": int(all(math.isfinite(loss) for loss in (curves.loss[-1][1], *after.values()))),
            "loss_below_start": min((before[task] - loss for task, loss in after.items()), default=0.0),
        },
        curves={"Training loss by step": curves.loss, "Learning rate of the embedding": curves.rate},
    )
    if "route" in measured:
        _score_routing(generator, measured["route"], templates["route"], config.route_tokens, summary)
        # The gate compares this with the previous accuracy: a margin from the recipe cannot be in the bound itself.
        summary.metrics["accuracy_plus_margin"] = float(summary.metrics["accuracy"]) + config.gates.max_regression
    if "summarise" in measured:
        rows = measured["summarise"][:SAMPLES]
        answers = generator.generate([row.prompt for row in rows], SUMMARY_TOKENS)
        summary.samples += [_sample(row, answer) for row, answer in zip(rows, answers, strict=True)]
    return summary


def _loss(generator: TorchGenerator, rows: Sequence[Example]) -> float:
    """Mean over rows of the mean loss (nats) of an answer's tokens."""
    return float(generator.answer_loss([row.prompt for row in rows], [row.answer for row in rows]).mean())


def _score_routing(
    generator: TorchGenerator, rows: Sequence[Example], template: PromptTemplate, limit: int, summary: Summary
) -> None:
    """Exact match of greedy answers: accuracy, macro-F1 and a bar per label."""
    from sklearn.metrics import f1_score

    completions = generator.generate([row.prompt for row in rows], limit)
    answers = [parse_answer(template, completion) for completion in completions]
    truth = [row.answer for row in rows]
    labels = sorted(set(truth))
    right = [answer == label for answer, label in zip(answers, truth, strict=True)]
    summary.metrics["accuracy"] = sum(right) / len(right)
    summary.metrics["macro_f1"] = float(f1_score(truth, answers, labels=labels, average="macro", zero_division=0))
    summary.metrics["validation_rows"] = len(rows)
    shares = {}
    for label in labels:
        of_label = [ok for ok, wanted in zip(right, truth, strict=True) if wanted == label]
        shares[label] = sum(of_label) / len(of_label)
    summary.bars["Accuracy by label (validation)"] = shares
    summary.samples += [_sample(row, answer) for row, answer in list(zip(rows, answers, strict=True))[:SAMPLES]]
    summary.note = f"Routing accuracy {summary.metrics['accuracy']:.3f} on {len(rows)} validation rows."


def _sample(row: Example, answer: str) -> dict[str, str]:
    return {"task": row.task, "prompt": row.prompt[:160], "wanted": row.answer, "answered": answer}
