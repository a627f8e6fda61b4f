"""Distillation: a student with fewer layers and a smaller hidden size learns the teacher's distribution.

It does not begin from nothing: it takes evenly spaced layers of the teacher and, of the hidden size, the
dimensions that carry most on real prompts (Minitron, Muralidharan et al. 2024), so a short training is
enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.alignment.examples import sample_examples, split_rows
from llm_assets.artifacts import Progress, Summary, no_progress
from llm_assets.compression.config import CompressionConfig
from llm_assets.compression.export import model_bytes
from llm_assets.compression.measure import accuracy, decide
from llm_assets.compression.prune import calibration_prompts
from llm_assets.compression.tuning import tune, tuning_examples
from llm_assets.errors import UserError
from llm_assets.inference import torch_setup
from llm_assets.models.llama import load_model, parameter_counts, save_checkpoint
from llm_assets.models.tokenizer import load_tokenizer
from llm_assets.prompts import PromptTemplate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


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
    distillation = config.distillation
    examples = tuning_examples(balanced, templates, distillation.tuning, seed)
    teacher, tokenizer = load_model(parent), load_tokenizer(parent)
    layers, hidden = student_shape(teacher.config, config)
    if (layers, hidden) == (teacher.config.num_hidden_layers, teacher.config.hidden_size):
        raise UserError(
            f"compression.distillation: depth {distillation.depth} and width {distillation.width} give a student as "
            f"large as its teacher ({layers} layers of {hidden}); lower one of them"
        )
    prompts = calibration_prompts(examples, distillation.calibration_rows)
    student = smaller_copy(teacher, layers, widest_dimensions(teacher, tokenizer, prompts, hidden))
    curves = tune(student, teacher, tokenizer, examples, distillation.tuning, seed, progress)
    save_checkpoint(student, tokenizer, out)
    held_out = sample_examples(split_rows(cleaned, "validation"), templates, config.validation_rows, seed)
    scores = {
        name: accuracy(held_out, decide(folder, held_out, templates, config.max_new_tokens, threads))
        for name, folder in (("teacher", parent), ("student", out))
    }
    sizes = {
        name: parameter_counts(model)["parameters"] for name, model in (("teacher", teacher), ("student", student))
    }
    metrics: dict[str, Any] = {
        "layers": layers,
        "layers_before": teacher.config.num_hidden_layers,
        "hidden": hidden,
        "hidden_before": teacher.config.hidden_size,
        "parameters": sizes["student"],
        "parameters_before": sizes["teacher"],
        "size_ratio": round(model_bytes(parent) / model_bytes(out), 3),
        "accuracy_parent": round(scores["teacher"], 4),
        "accuracy": round(scores["student"], 4),
        "accuracy_drop": round(scores["teacher"] - scores["student"], 4),
        "tokens_per_second": round(curves.tokens_per_second),
    }
    return Summary(
        metrics=metrics,
        curves={"distillation loss": curves.loss},
        bars={
            "validation accuracy": scores,
            "parameters": {name: float(count) for name, count in sizes.items()},
        },
        note=f"A student of {layers} of {metrics['layers_before']} layers and a hidden size of {hidden} of "
        f"{metrics['hidden_before']}, begun with the teacher's weights.",
    )


def student_shape(teacher: Any, config: CompressionConfig) -> tuple[int, int]:
    """Layers and hidden size for a teacher's configuration: shares of its own, at least one layer and one
    multiple.
    """
    shares = config.distillation
    layers = max(1, round(teacher.num_hidden_layers * shares.depth))
    hidden = max(shares.multiple, round(teacher.hidden_size * shares.width / shares.multiple) * shares.multiple)
    return layers, min(hidden, int(teacher.hidden_size))


def widest_dimensions(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], keep: int
) -> torch.Tensor:
    """The `keep` hidden dimensions of largest mean size after the final norm, over all tokens; int64,
    ascending.
    """
    import torch

    limit = model.config.max_position_embeddings
    total = torch.zeros(model.config.hidden_size)
    with torch.inference_mode():
        for item in tokenizer.backend_tokenizer.encode_batch(list(prompts)):
            states = model.model(input_ids=torch.tensor([item.ids[-limit:]]), use_cache=False).last_hidden_state
            total += states[0].abs().sum(0)
    return torch.sort(torch.argsort(total, descending=True, stable=True)[:keep]).values


def smaller_copy(model: PreTrainedModel, layers: int, dimensions: torch.Tensor) -> PreTrainedModel:
    """A new model with `layers` of the model's layers, evenly spaced, and these dimensions of its hidden
    size.

    Heads and MLP neurons keep their number: only what reads from and writes to the residual stream is cut.
    """
    import copy

    import numpy as np

    old = model.config
    chosen = np.linspace(0, old.num_hidden_layers - 1, layers).round().astype(int).tolist()
    config = copy.deepcopy(old)
    config.num_hidden_layers, config.hidden_size = layers, len(dimensions)
    config.head_dim = getattr(old, "head_dim", None) or old.hidden_size // old.num_attention_heads
    if getattr(config, "layer_types", None):
        config.layer_types = [config.layer_types[index] for index in chosen]
    smaller = type(model)(config)
    renamed = {f"model.layers.{before}.": f"model.layers.{after}." for after, before in enumerate(chosen)}
    state = {}
    for name, value in model.state_dict().items():
        prefix = next((prefix for prefix in renamed if name.startswith(prefix)), None)
        if prefix is None and ".layers." in name:
            continue
        new = name if prefix is None else renamed[prefix] + name.removeprefix(prefix)
        writes = name.endswith(("o_proj.weight", "down_proj.weight"))
        state[new] = value[dimensions] if writes or value.ndim == 1 else value[:, dimensions]
    smaller.load_state_dict(state)
    return smaller.eval()
