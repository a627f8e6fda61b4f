"""Which shape: every candidate trains on the same tokens in the same order; the best on validation text is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from llm_assets.artifacts import REPORT, Progress, Summary, no_progress, read_json, write_json
from llm_assets.inference import torch_setup
from llm_assets.models.config import ModelsConfig, ShapeConfig
from llm_assets.models.llama import (
    PackedBatches,
    build_llama,
    pack_texts,
    parameter_counts,
    perplexity,
    picked_loss,
    stream_loss,
)
from llm_assets.models.loop import train_steps
from llm_assets.models.tokenizer import load_tokenizer, split_texts


def compare_shapes(
    documents: Path,
    tokenizer_folder: Path,
    out: Path,
    config: ModelsConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write `report.json`: every candidate's figures and the chosen shape.

    The choice is by validation loss, then by fewer parameters: measured speed differs from run to run, so it is
    shown and not decided on.
    """
    tokenizer = load_tokenizer(tokenizer_folder)
    pretrain, search = config.pretrain, config.search
    steps = max(1, search.tokens // (pretrain.batch_size * pretrain.length))
    wanted = steps * pretrain.batch_size * pretrain.length
    train = pack_texts(tokenizer, split_texts(documents, "train", config.tokenizer.max_chars)[: 1 + wanted // 20])
    validation = pack_texts(tokenizer, split_texts(documents, "validation", config.tokenizer.max_chars)[:2000])
    rows: list[dict[str, Any]] = []
    summary = Summary()
    for number, shape in enumerate(config.shapes):
        torch_setup(seed, threads)
        model = build_llama(shape, tokenizer, config.context)
        batches = PackedBatches(train, steps, pretrain.batch_size, pretrain.length, pretrain.loss_share, seed)

        def report(done: float, total: float, note: str = "", number: int = number, name: str = shape.name) -> None:
            progress(number * total + done, len(config.shapes) * total, f"{name}: {note}")

        curves = train_steps(model, batches, picked_loss, pretrain.optimizer, seed, report)
        loss = stream_loss(model, validation, pretrain.length, search.validation_tokens)
        rows.append({"shape": shape.model_dump(), "validation_loss": loss, **parameter_counts(model)})
        summary.curves[f"Loss of {shape.name}"] = curves.loss
        summary.metrics[f"tokens_per_second_{shape.name}"] = round(curves.tokens_per_second)
        summary.metrics[f"validation_loss_{shape.name}"] = round(loss, 4)
    chosen = min(rows, key=lambda row: (row["validation_loss"], row["parameters"]))
    reason = (
        f"{chosen['shape']['name']}: lowest validation loss ({chosen['validation_loss']:.3f}) of {len(rows)} "
        f"candidate shapes after {wanted} training tokens each, with {chosen['parameters']} parameters"
    )
    write_json({"candidates": rows, "chosen": chosen["shape"], "reason": reason, "tokens": wanted}, out / REPORT)
    summary.metrics |= {
        "candidates": len(rows),
        "chosen": chosen["shape"]["name"],
        "best_validation_loss": chosen["validation_loss"],
        "best_perplexity": round(perplexity(chosen["validation_loss"]), 1),
        "uniform_loss": _uniform_loss(len(tokenizer)),
        "tokens": wanted,
    }
    summary.bars = {
        "Validation loss": {row["shape"]["name"]: row["validation_loss"] for row in rows},
        "Parameters": {row["shape"]["name"]: float(row["parameters"]) for row in rows},
    }
    summary.note = f"Chosen: **{reason}**. Speeds are this run's and decide nothing."
    return summary


def chosen_shape(folder: Path) -> ShapeConfig:
    """The shape an `architecture_report` chose."""
    return ShapeConfig.model_validate(read_json(folder / REPORT)["chosen"])


def _uniform_loss(vocabulary: int) -> float:
    """The loss (nats) of knowing nothing: every token equally likely."""
    import math

    return math.log(vocabulary)
