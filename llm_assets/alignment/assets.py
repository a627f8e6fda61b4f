"""Preference pairs, the reward model and the aligned model."""

from pathlib import Path

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset
from llm_assets.recipe import Recipe


def _feedback(recipe: Recipe, home: Path) -> str:
    from llm_assets.alignment.pairs import feedback_digest

    return feedback_digest(home)


@artifact_asset(
    group="data",
    inputs=("finetuned_model", "cleaned_documents", "prompt_library"),
    config=("alignment.pairs", "seed", "threads"),
    kinds={"huggingface", "parquet"},
    code_version="1",
    seconds=8,
    external_state=_feedback,
)
def preference_pairs(job: Job) -> Summary:
    """Chosen and rejected answers to the same prompt.

    Several answers of the fine-tuned model are sampled for each prompt; the reference is chosen, a wrong
    label or the worst summary is rejected. People's own choices join them: votes of the labelling page
    (`feedback/labelled.jsonl`) and pairs made by hand (`feedback/pairs.jsonl`). Look at the samples: rejected
    answers should be wrong, yet near."""
    from llm_assets.alignment.examples import base_templates
    from llm_assets.alignment.pairs import make_pairs

    return make_pairs(
        job.inputs["finetuned_model"],
        job.inputs["cleaned_documents"],
        base_templates(job.inputs["prompt_library"]),
        job.home,
        job.out,
        job.recipe.alignment.pairs,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )


@artifact_asset(
    group="alignment",
    inputs=("preference_pairs", "finetuned_model"),
    config=("alignment.reward", "seed", "threads"),
    kinds={"huggingface", "pytorch"},
    code_version="1",
    seconds=12,
)
def reward_model(job: Job) -> Summary:
    """The fine-tuned model with a scalar head, trained (TRL RewardTrainer) to score chosen above rejected
    answers.

    Look at the accuracy on held-out pairs, the histogram of margins, and the length bias: a reward model that
    prefers long answers teaches length."""
    from llm_assets.alignment.reward import train_reward_model

    return train_reward_model(
        job.inputs["finetuned_model"],
        job.inputs["preference_pairs"],
        job.out,
        job.recipe.alignment.reward,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )


@artifact_asset(
    group="alignment",
    inputs=("preference_pairs", "finetuned_model", "reward_model"),
    config=("alignment.dpo", "alignment.pairs.max_new_tokens", "seed", "threads"),
    kinds={"huggingface", "pytorch"},
    code_version="1",
    seconds=18,
)
def aligned_model(job: Job) -> Summary:
    """The fine-tuned model after direct preference optimisation (TRL DPOTrainer) on the preference pairs.

    Look at the win rate against the fine-tuned model, at the KL (how far it moved for that), and at the
    accuracy before and after: alignment must not cost it."""
    from llm_assets.alignment.dpo import align

    return align(
        job.inputs["finetuned_model"],
        job.inputs["reward_model"],
        job.inputs["preference_pairs"],
        job.out,
        job.recipe.alignment.dpo,
        answer_tokens=job.recipe.alignment.pairs.max_new_tokens,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )
