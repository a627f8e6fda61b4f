"""Distillation: a student with fewer of the teacher's layers learns the teacher's distribution and the true
answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.alignment.checkpoints import load_model, load_tokenizer, save_checkpoint
from llm_assets.alignment.examples import sample_examples, split_rows
from llm_assets.artifacts import Progress, Summary, no_progress
from llm_assets.compression.config import CompressionConfig
from llm_assets.compression.export import model_bytes
from llm_assets.compression.measure import accuracy, decide
from llm_assets.compression.tuning import tune
from llm_assets.errors import UserError
from llm_assets.inference import torch_setup
from llm_assets.prompts import PromptTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def distill_model(
    parent: Path,
    balanced: Path,
    cleaned: Path,
    templates: Mapping[str, PromptTemplate],
    out: Path,
    config: CompressionConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write the student's checkpoint into `out`. Raises UserError where it would not be smaller than its
    teacher.
    """
    torch_setup(seed, threads)
    tuning = config.distillation.tuning
    examples = sample_examples(split_rows(balanced, "train"), templates, tuning.rows, seed)
    if not examples:
        raise UserError(
            "distilled_model: balanced_documents has no rows of the tasks in compression.distillation"
        )
    teacher, tokenizer = load_model(parent), load_tokenizer(parent)
    layers = config.distillation.layers
    if layers >= teacher.config.num_hidden_layers:
        raise UserError(
            f"compression.distillation.layers = {layers}: the teacher has "
            f"{teacher.config.num_hidden_layers}; choose fewer"
        )
    student = shallow_copy(teacher, layers)
    curve = tune(student, teacher, tokenizer, examples, tuning, seed, progress)
    save_checkpoint(student, parent, out)
    held_out = sample_examples(split_rows(cleaned, "validation"), templates, config.validation_rows, seed)
    scores = {
        name: accuracy(held_out, decide(folder, held_out, templates, config.max_new_tokens, threads))
        for name, folder in (("teacher", parent), ("student", out))
    }
    sizes = {
        "teacher": sum(p.numel() for p in teacher.parameters()),
        "student": sum(p.numel() for p in student.parameters()),
    }
    metrics: dict[str, Any] = {
        "layers": layers,
        "layers_before": teacher.config.num_hidden_layers,
        "parameters": sizes["student"],
        "parameters_before": sizes["teacher"],
        "size_ratio": round(model_bytes(parent) / model_bytes(out), 3),
        "accuracy_parent": round(scores["teacher"], 4),
        "accuracy": round(scores["student"], 4),
        "accuracy_drop": round(scores["teacher"] - scores["student"], 4),
        "loss": round(sum(value for _, value in curve[-10:]) / len(curve[-10:]), 4),
    }
    return Summary(
        metrics=metrics,
        curves={"distillation loss": curve},
        bars={
            "validation accuracy": scores,
            "parameters": {name: float(count) for name, count in sizes.items()},
        },
        note=f"{layers} of {teacher.config.num_hidden_layers} layers, begun with the teacher's weights.",
    )


def shallow_copy(model: PreTrainedModel, layers: int) -> PreTrainedModel:
    """A new model with `layers` of the model's layers, evenly spaced and first of all its first, and all
    the rest.
    """
    import copy

    import numpy as np

    chosen = np.linspace(0, model.config.num_hidden_layers - 1, layers).round().astype(int).tolist()
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = layers
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[index] for index in chosen]
    smaller = type(model)(config)
    state = {name: value for name, value in model.state_dict().items() if ".layers." not in name}
    for new, old in enumerate(chosen):
        prefix = f"model.layers.{old}."
        for name, value in model.state_dict().items():
            if name.startswith(prefix):
                state[f"model.layers.{new}.{name.removeprefix(prefix)}"] = value
    smaller.load_state_dict(state)
    return smaller.eval()
