"""Pre-training: next-token prediction on the train split's texts, packed end to end."""

from __future__ import annotations

import math
from pathlib import Path

from llm_assets.artifacts import Progress, Summary, no_progress
from llm_assets.inference import torch_setup
from llm_assets.models.architecture import chosen_shape
from llm_assets.models.config import ModelsConfig
from llm_assets.models.llama import (
    PackedBatches,
    build_llama,
    pack_texts,
    parameter_counts,
    perplexity,
    picked_loss,
    save_checkpoint,
    stream_loss,
)
from llm_assets.models.loop import train_steps
from llm_assets.models.tokenizer import load_tokenizer, split_texts


def pretrain_model(
    documents: Path,
    tokenizer_folder: Path,
    architecture: Path,
    out: Path,
    config: ModelsConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Train the chosen shape from scratch and write it to `out` as a checkpoint."""
    torch_setup(seed, threads)
    settings = config.pretrain
    tokenizer = load_tokenizer(tokenizer_folder)
    model = build_llama(chosen_shape(architecture), tokenizer, config.context)
    train = pack_texts(tokenizer, split_texts(documents, "train", config.tokenizer.max_chars))
    held_out = split_texts(documents, "validation", config.tokenizer.max_chars)
    validation = pack_texts(tokenizer, held_out[:2000])
    batches = PackedBatches(train, settings.steps, settings.batch_size, settings.length, settings.loss_share, seed)
    before = stream_loss(model, validation, settings.length, settings.validation_tokens // 4)
    curves = train_steps(model, batches, picked_loss, settings.optimizer, seed, progress)
    after = stream_loss(model, validation, settings.length, settings.validation_tokens)
    save_checkpoint(model, tokenizer, out)
    return Summary(
        metrics={
            "validation_loss": after,
            "start_loss": before,
            "loss_below_start": before - after,
            "perplexity": perplexity(after),
            "loss_is_finite": int(math.isfinite(after)),
            "steps": settings.steps,
            "tokens": curves.tokens,
            "corpus_tokens": len(train),
            "tokens_per_second": round(curves.tokens_per_second),
            **parameter_counts(model),
        },
        curves={"Training loss by step": curves.loss, "Learning rate of the embedding": curves.rate},
        samples=_samples(model, tokenizer, held_out),
        note=f"Perplexity {perplexity(before):.0f} before, {perplexity(after):.0f} after, on validation text. "
        "Samples: the first words of validation documents, and how the model goes on.",
    )


def _samples(model: object, tokenizer: object, texts: list[str]) -> list[dict[str, str]]:
    from llm_assets.inference.torch_generator import TorchGenerator

    starts = [" ".join(text.split()[:6]) for text in texts[:6]]
    ends = TorchGenerator.wrap(model, tokenizer).generate(starts, 16)
    return [{"start": start, "goes on": end} for start, end in zip(starts, ends, strict=True)]
