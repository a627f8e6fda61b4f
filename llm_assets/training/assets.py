"""Dagster nodes of training."""

from __future__ import annotations

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset


@artifact_asset(
    group="training",
    inputs=("pretrained_model", "balanced_documents", "cleaned_documents", "prompt_library"),
    config=("training", "seed", "threads"),
    kinds={"huggingface", "pytorch"},
    code_version="1",
    seconds=75,
)
def finetuned_model(job: Job) -> Summary:
    """The pre-trained model, fine-tuned to route and to summarise in the library's zero-shot prompts.

    The loss counts answer tokens only, each weighted by its row's `weight`. Look at the accuracy by label, and at
    the loss curve: it should fall steeply, then flatten as the rate decays.
    """
    from llm_assets.training.finetune import finetune_model

    return finetune_model(
        job.inputs["pretrained_model"],
        job.inputs["balanced_documents"],
        job.inputs["cleaned_documents"],
        job.inputs["prompt_library"],
        job.out,
        job.recipe.training,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )
