"""Training a smaller model beside the one it was made from: the teacher's distribution and the true answers.

Only answer positions meet the LM head, which is most of the cost of a small model with a large vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.artifacts import Progress, no_progress
from llm_assets.compression.config import TuningConfig

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llm_assets.training.instructions import Example

WINDOW = 16  # batches that are sorted by length together, so that little is padding


@dataclass
class Batch:
    """ids int64 [rows, width], padded on the right; `predicts` marks the positions whose next token belongs
    to an answer; per such position its target token and the weight of its example."""

    ids: torch.Tensor
    predicts: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor


def tune(
    student: PreTrainedModel,
    teacher: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    config: TuningConfig,
    seed: int,
    progress: Progress = no_progress,
) -> list[tuple[float, float]]:
    """Train `student` in place; the loss curve (step, loss).

    loss = (1 - w) * cross-entropy + w * T^2 * KL(teacher || student), both at temperature T (Hinton et al.
    2015), w = `teacher_weight`.
    """
    import torch

    batches = make_batches(tokenizer, examples, student.config.max_position_embeddings, config, seed)
    optimizer = torch.optim.AdamW(student.parameters(), lr=config.learning_rate, weight_decay=0.01)
    warmup = max(1, len(batches) // 10)
    curve: list[tuple[float, float]] = []
    student.train()
    teacher.eval()
    for step, batch in enumerate(batches, start=1):
        left = (len(batches) - step + 1) / max(1, len(batches) - warmup)
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * min(step / warmup, left)
        loss = _loss(student, teacher, batch, config)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        curve.append((float(step), float(loss.detach())))
        progress(step, len(batches), f"loss {curve[-1][1]:.3f}")
    student.eval()
    return curve


def _loss(
    student: PreTrainedModel, teacher: PreTrainedModel, batch: Batch, config: TuningConfig
) -> torch.Tensor:
    import torch
    from torch.nn import functional

    logits = student.lm_head(student.model(input_ids=batch.ids).last_hidden_state[batch.predicts])
    answers = functional.cross_entropy(logits, batch.targets, reduction="none")
    loss = (1 - config.teacher_weight) * (answers * batch.weights).sum() / batch.weights.sum()
    if config.teacher_weight:
        with torch.no_grad():
            states = teacher.model(input_ids=batch.ids).last_hidden_state[batch.predicts]
            wanted = (teacher.lm_head(states) / config.temperature).log_softmax(-1)
        got = (logits / config.temperature).log_softmax(-1)
        divergence = functional.kl_div(got, wanted, log_target=True, reduction="batchmean")
        loss = loss + config.teacher_weight * config.temperature**2 * divergence
    return loss


def make_batches(
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    limit: int,
    config: TuningConfig,
    seed: int,
) -> list[Batch]:
    """All batches of all epochs, in an order drawn by `seed`. A sequence of more than `limit` tokens loses
    its beginning."""
    backend = tokenizer.backend_tokenizer
    prompts = [item.ids for item in backend.encode_batch([example.prompt for example in examples])]
    answers = [
        [*item.ids, int(tokenizer.eos_token_id)]
        for item in backend.encode_batch([example.answer for example in examples])
    ]
    lengths = [min(limit, len(prompt) + len(answer)) for prompt, answer in zip(prompts, answers, strict=True)]
    random = np.random.default_rng(seed)
    batches = []
    for _ in range(config.epochs):
        order = random.permutation(len(examples)).tolist()
        size = config.batch_size * WINDOW
        for start in range(0, len(order), size):
            window = sorted(order[start : start + size], key=lambda row: lengths[row])
            groups = [window[at : at + config.batch_size] for at in range(0, len(window), config.batch_size)]
            for group in random.permutation(len(groups)):
                rows = groups[int(group)]
                batches.append(_batch(rows, prompts, answers, examples, limit, int(tokenizer.pad_token_id)))
    return batches


def _batch(
    rows: Sequence[int],
    prompts: Sequence[list[int]],
    answers: Sequence[list[int]],
    examples: Sequence[Example],
    limit: int,
    pad: int,
) -> Batch:
    import torch

    sequences = [(prompts[row] + answers[row])[-limit:] for row in rows]
    ids = torch.full((len(rows), max(map(len, sequences))), pad)
    predicts = torch.zeros_like(ids, dtype=torch.bool)
    targets: list[int] = []
    weights: list[float] = []
    for position, (row, sequence) in enumerate(zip(rows, sequences, strict=True)):
        answer = answers[row][-(limit - 1) :]
        ids[position, : len(sequence)] = torch.tensor(sequence)
        predicts[position, len(sequence) - len(answer) - 1 : len(sequence) - 1] = True
        targets += answer
        weights += [float(examples[row].weight)] * len(answer)
    return Batch(ids, predicts, torch.tensor(targets), torch.tensor(weights))
