"""Structured pruning: whole MLP neurons are removed, so that shapes, bytes and operations really shrink.

A neuron's importance is the mean size of its activation on real prompts times the norm of its outgoing
weights: how much it adds to the residual stream (the structured form of Wanda, Sun et al. 2023; Minitron
    uses the same).
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
from llm_assets.compression.tuning import tune, tuning_examples
from llm_assets.inference import torch_setup
from llm_assets.models.llama import load_model, parameter_counts, save_checkpoint
from llm_assets.models.tokenizer import load_tokenizer
from llm_assets.prompts import PromptTemplate

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from llm_assets.training.instructions import Example


def prune_model(
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
    """Write the pruned and recovered checkpoint into `out`; its accuracy is reported before and after
    recovery.
    """
    torch_setup(seed, threads)
    pruning = config.pruning
    examples = tuning_examples(balanced, templates, pruning.recovery, seed)
    teacher, tokenizer = load_model(parent), load_tokenizer(parent)
    scores = importances(teacher, tokenizer, calibration_prompts(examples, pruning.calibration_rows))
    student = remove_neurons(teacher, scores, neurons_kept(teacher.config.intermediate_size, config))
    held_out = sample_examples(split_rows(cleaned, "validation"), templates, config.validation_rows, seed)

    def measured(folder: Path) -> float:
        return accuracy(held_out, decide(folder, held_out, templates, config.max_new_tokens, threads))

    before = measured(parent)
    save_checkpoint(student, tokenizer, out)
    raw = measured(out)
    curves = tune(student, teacher, tokenizer, examples, pruning.recovery, seed, progress)
    save_checkpoint(student, tokenizer, out)
    after = measured(out)
    sizes = {name: parameter_counts(model)["parameters"] for name, model in (("parent", teacher), ("pruned", student))}
    metrics: dict[str, Any] = {
        "neurons": student.config.intermediate_size,
        "neurons_before": teacher.config.intermediate_size,
        "parameters": sizes["pruned"],
        "parameters_before": sizes["parent"],
        "size_ratio": round(model_bytes(parent) / model_bytes(out), 3),
        "accuracy_parent": round(before, 4),
        "accuracy_unrecovered": round(raw, 4),
        "accuracy": round(after, 4),
        "accuracy_drop": round(before - after, 4),
        "tokens_per_second": round(curves.tokens_per_second),
    }
    return Summary(
        metrics=metrics,
        curves={
            "recovery loss": curves.loss,
            **{
                f"layer {index}: importance of its neurons, sorted": [
                    (float(rank), float(value)) for rank, value in enumerate(sorted(layer.tolist(), reverse=True))
                ]
                for index, layer in enumerate(scores)
            },
        },
        bars={
            "validation accuracy": {"parent": before, "pruned": raw, "pruned and recovered": after},
            "parameters": {name: float(count) for name, count in sizes.items()},
        },
        note=f"{metrics['neurons']} of {metrics['neurons_before']} neurons of every MLP stay.",
    )


def neurons_kept(neurons: int, config: CompressionConfig) -> int:
    """`keep` of them, rounded to the multiple, at least one multiple and at most all."""
    multiple = config.pruning.multiple
    return min(neurons, max(multiple, round(neurons * config.pruning.keep / multiple) * multiple))


def calibration_prompts(examples: Sequence[Example], rows: int) -> list[str]:
    """About `rows` prompts, spread over all examples."""
    return [example.prompt for example in examples[:: max(1, len(examples) // rows)]]


def importances(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], batch_size: int = 32
) -> list[torch.Tensor]:
    """For each layer the importance of its MLP's neurons, float32 [neurons]."""
    import torch

    layers = list(model.model.layers)
    totals = [torch.zeros(model.config.intermediate_size) for _ in layers]
    real = torch.zeros(0)

    def watch(index: int) -> Any:
        def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            totals[index] += (inputs[0].abs() * real[:, :, None]).sum(dim=(0, 1))

        return hook

    handles = [layer.mlp.down_proj.register_forward_pre_hook(watch(index)) for index, layer in enumerate(layers)]
    encoded = [item.ids for item in tokenizer.backend_tokenizer.encode_batch(list(prompts))]
    limit, tokens = model.config.max_position_embeddings, 0
    try:
        with torch.inference_mode():
            for start in range(0, len(encoded), batch_size):
                rows = [ids[-limit:] for ids in encoded[start : start + batch_size]]
                ids = torch.full((len(rows), max(map(len, rows))), int(tokenizer.pad_token_id))
                real = torch.zeros(ids.shape)
                for position, row in enumerate(rows):
                    ids[position, : len(row)] = torch.tensor(row)
                    real[position, : len(row)] = 1
                tokens += int(real.sum())
                model.model(input_ids=ids)
    finally:
        for handle in handles:
            handle.remove()
    return [
        total / max(tokens, 1) * layer.mlp.down_proj.weight.detach().norm(dim=0)
        for total, layer in zip(totals, layers, strict=True)
    ]


def remove_neurons(model: PreTrainedModel, scores: Sequence[torch.Tensor], keep: int) -> PreTrainedModel:
    """A new model with the `keep` most important neurons of every MLP, in their old order."""
    import copy

    import torch

    config = copy.deepcopy(model.config)
    config.intermediate_size = keep
    smaller = type(model)(config)
    state = dict(model.state_dict())
    for index, score in enumerate(scores):
        kept = torch.sort(torch.argsort(score, descending=True, stable=True)[:keep]).values
        prefix = f"model.layers.{index}.mlp"
        for name in ("gate_proj", "up_proj"):
            state[f"{prefix}.{name}.weight"] = state[f"{prefix}.{name}.weight"][kept]
        state[f"{prefix}.down_proj.weight"] = state[f"{prefix}.down_proj.weight"][:, kept]
    smaller.load_state_dict(state)
    return smaller.eval()
