"""Smaller models: pruned, distilled, quantized."""

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset


@artifact_asset(
    group="compression",
    inputs=("aligned_model", "balanced_documents", "cleaned_documents", "prompt_library"),
    config=(
        "compression.pruning",
        "compression.validation_rows",
        "compression.max_new_tokens",
        "seed",
        "threads",
    ),
    kinds={"huggingface", "pytorch"},
    code_version="1",
    seconds=12,
)
def pruned_model(job: Job) -> Summary:
    """The aligned model without its least useful MLP neurons, trained a little to recover.

    Neurons are ranked by their activation on real prompts times their outgoing weights. Look at the accuracy
    before and after recovery, and at the curve of importances: a long flat tail means that more can go."""
    from llm_assets.alignment.examples import base_templates
    from llm_assets.compression.prune import prune_model

    return prune_model(
        job.inputs["aligned_model"],
        job.inputs["balanced_documents"],
        job.inputs["cleaned_documents"],
        base_templates(job.inputs["prompt_library"]),
        job.out,
        job.recipe.compression,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )


@artifact_asset(
    group="compression",
    inputs=("aligned_model", "balanced_documents", "cleaned_documents", "prompt_library"),
    config=(
        "compression.distillation",
        "compression.validation_rows",
        "compression.max_new_tokens",
        "seed",
        "threads",
    ),
    kinds={"huggingface", "pytorch"},
    code_version="1",
    seconds=18,
)
def distilled_model(job: Job) -> Summary:
    """A student with fewer layers, trained on the aligned model's distribution and on the true answers.

    Look at the accuracy that it keeps for the parameters that it saves."""
    from llm_assets.alignment.examples import base_templates
    from llm_assets.compression.distill import distill_model

    return distill_model(
        job.inputs["aligned_model"],
        job.inputs["balanced_documents"],
        job.inputs["cleaned_documents"],
        base_templates(job.inputs["prompt_library"]),
        job.out,
        job.recipe.compression,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )


@artifact_asset(
    group="compression",
    inputs=("aligned_model", "cleaned_documents", "prompt_library"),
    config=("compression.quantization", "compression.max_new_tokens", "seed", "threads"),
    kinds={"onnx"},
    code_version="3",
    seconds=8,
)
def quantized_model(job: Job) -> Summary:
    """The aligned model as an ONNX package with int8 weights, embedding included.

    Look at the decisions that it shares with its parent, label by label: an average hides a class that
    broke."""
    from llm_assets.alignment.examples import base_templates
    from llm_assets.compression.quantize import quantize_model

    return quantize_model(
        job.inputs["aligned_model"],
        "aligned_model",
        job.inputs["cleaned_documents"],
        base_templates(job.inputs["prompt_library"]),
        job.out,
        job.recipe.compression,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )
