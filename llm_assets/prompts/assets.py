"""Dagster nodes of the prompts stage."""

from __future__ import annotations

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset


@artifact_asset(
    group="prompts",
    inputs=("cleaned_documents",),
    config=("prompts", "seed"),
    kinds={"json"},
    code_version="1",
    seconds=3,
)
def prompt_library(job: Job) -> Summary:
    """Candidate prompts of every task: zero-shot variants (specific, with a role, constrained to the labels),
    few-shot with examples that are typical and unlike each other, chain of thought.

    The first of each task is the one that models are trained in. Look at the rendered samples.
    """
    from llm_assets.prompts.library import build_library

    return build_library(job.inputs["cleaned_documents"], job.out, job.recipe.prompts, seed=job.recipe.seed)


@artifact_asset(
    group="prompts",
    inputs=("prompt_library", "finetuned_model", "cleaned_documents"),
    config=("prompts", "seed", "threads"),
    kinds={"json"},
    code_version="1",
    seconds=9,
)
def optimized_prompt(job: Job) -> Summary:
    """The best prompt of each task for the fine-tuned model, and the leaderboard on validation rows that shows why.

    All candidates run on a few rows, the finalists and the base on more. Look at the bars: what the winner gains
    over the template that the model was trained in.
    """
    from llm_assets.prompts.optimize import optimize_prompts

    return optimize_prompts(
        job.inputs["prompt_library"],
        job.inputs["finetuned_model"],
        job.inputs["cleaned_documents"],
        job.out,
        job.recipe.prompts,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )
