"""Dagster nodes of the models stage."""

from __future__ import annotations

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset


@artifact_asset(
    group="models",
    inputs=("cleaned_documents",),
    config=("models.tokenizer", "models.context"),
    kinds={"huggingface"},
    code_version="1",
    seconds=6,
)
def tokenizer(job: Job) -> Summary:
    """Byte-level BPE trained on the train split, with the chat format's special tokens and template.

    Look at the characters per token (more is shorter sequences) and that no text fails its round trip.
    """
    from llm_assets.models.tokenizer import train_tokenizer

    return train_tokenizer(
        job.inputs["cleaned_documents"],
        job.out,
        job.recipe.models.tokenizer,
        context=job.recipe.models.context,
        progress=job.progress,
    )


@artifact_asset(
    group="models",
    inputs=("cleaned_documents", "tokenizer"),
    config=(
        "models.shapes",
        "models.search",
        "models.pretrain",
        "models.context",
        "models.tokenizer",
        "seed",
        "threads",
    ),
    kinds={"pytorch", "json"},
    code_version="1",
    seconds=20,
)
def architecture_report(job: Job) -> Summary:
    """Candidate shapes of the decoder, each trained on the same tokens; the one with the lowest validation loss.

    Look at the loss curves beside the parameters: a candidate that is still falling steeply would gain from more.
    """
    from llm_assets.models.architecture import compare_shapes

    return compare_shapes(
        job.inputs["cleaned_documents"],
        job.inputs["tokenizer"],
        job.out,
        job.recipe.models,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )


@artifact_asset(
    group="models",
    inputs=("cleaned_documents", "tokenizer", "architecture_report"),
    config=("models.pretrain", "models.context", "models.tokenizer", "seed", "threads"),
    kinds={"huggingface", "pytorch"},
    code_version="1",
    seconds=42,
)
def pretrained_model(job: Job) -> Summary:
    """A Llama-shaped causal language model, trained from scratch on the train split's texts.

    Look at the perplexity on validation text and at how it goes on from the first words of documents.
    """
    from llm_assets.models.pretrain import pretrain_model

    return pretrain_model(
        job.inputs["cleaned_documents"],
        job.inputs["tokenizer"],
        job.inputs["architecture_report"],
        job.out,
        job.recipe.models,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )
