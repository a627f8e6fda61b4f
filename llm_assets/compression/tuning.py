"""Training a smaller model beside the one it was made from: the teacher's distribution and the true
answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.alignment.examples import sample_examples, split_rows
from llm_assets.artifacts import Progress, no_progress
from llm_assets.compression.config import TuningConfig
from llm_assets.errors import UserError
from llm_assets.models.loop import Curves, Loss
from llm_assets.prompts import PromptTemplate
from llm_assets.training.config import TrainingConfig
from llm_assets.training.instructions import Example
from llm_assets.training.trainer import fine_tune

if TYPE_CHECKING:
    import torch


def tuning_examples(
    balanced: Path, templates: Mapping[str, PromptTemplate], config: TuningConfig, seed: int
) -> list[Example]:
    """As many examples of the balanced train split as the steps will see. Raises UserError if there are
    none.
    """
    limit = config.steps * config.batch_size
    examples = sample_examples(split_rows(balanced, "train"), templates, dict.fromkeys(templates, limit), seed)
    if not examples:
        raise UserError(f"balanced_documents has no row of a task with a prompt ({', '.join(sorted(templates))})")
    return examples


def tune(
    student: Any,
    teacher: Any,
    tokenizer: Any,
    examples: list[Example],
    config: TuningConfig,
    seed: int,
    progress: Progress = no_progress,
) -> Curves:
    """Train `student` in place to give the true answers and `teacher`'s distribution over them."""
    training = TrainingConfig(
        steps=config.steps,
        batch_size=config.batch_size,
        route_share=config.route_share,
        optimizer=config.optimizer,
    )
    loss = distillation_loss(teacher, config.temperature, config.teacher_weight)
    return fine_tune(student, tokenizer, examples, training, seed, progress, loss)


def distillation_loss(teacher: Any, temperature: float, teacher_weight: float) -> Loss:
    """(1 - w) * cross-entropy + w * T^2 * KL(teacher || student) at temperature T (Hinton et al. 2015), at
    the answers' positions; both weighted by their examples' weights."""

    def loss(student: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        logits, weights = _logits(student, batch), batch["weights"]
        losses = (1 - teacher_weight) * torch.nn.functional.cross_entropy(logits, batch["wanted"], reduction="none")
        if teacher_weight:
            with torch.no_grad():
                wanted = (_logits(teacher, batch) / temperature).log_softmax(-1)
            got = (logits / temperature).log_softmax(-1)
            losses = losses + teacher_weight * temperature**2 * (wanted.exp() * (wanted - got)).sum(-1)
        return (losses * weights).sum() / weights.sum()

    return loss


def _logits(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """float32 [answer positions, vocabulary]."""
    states = model.model(input_ids=batch["ids"], use_cache=False).last_hidden_state
    logits: torch.Tensor = model.lm_head(states.flatten(0, 1)[batch["picked"]])
    return logits
