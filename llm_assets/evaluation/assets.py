"""The evaluation report and the release candidate."""

from llm_assets.artifacts import Summary
from llm_assets.materialize import Job, artifact_asset

VARIANTS = ("finetuned_model", "aligned_model", "pruned_model", "distilled_model", "quantized_model")
CANDIDATES = ("aligned_model", "pruned_model", "distilled_model", "quantized_model")


@artifact_asset(
    group="evaluation",
    inputs=("cleaned_documents", "balanced_documents", "optimized_prompt", *VARIANTS),
    config=(
        "evaluation.test_rows",
        "evaluation.validation_rows",
        "evaluation.perplexity_rows",
        "evaluation.latency_requests",
        "evaluation.max_new_tokens",
        "evaluation.baseline",
        "seed",
        "threads",
    ),
    kinds={"json", "html"},
    code_version="2",
    seconds=25,
)
def evaluation_report(job: Job) -> Summary:
    """Every variant on one held-out test split: accuracy, macro-F1, perplexity, summary overlap, size,
    latency.

    A TF-IDF + logistic regression baseline stands beside them. Look at the bars first, then at the labels
    that are taken for each other; `report.html` in the version draws size against accuracy."""
    from llm_assets.alignment.examples import best_templates
    from llm_assets.evaluation.report import evaluate

    return evaluate(
        {name: job.inputs[name] for name in VARIANTS},
        job.inputs["cleaned_documents"],
        job.inputs["balanced_documents"],
        best_templates(job.inputs["optimized_prompt"]),
        job.out,
        job.recipe.evaluation,
        seed=job.recipe.seed,
        threads=job.recipe.threads,
        progress=job.progress,
    )


@artifact_asset(
    group="evaluation",
    inputs=("evaluation_report", "optimized_prompt", "cleaned_documents", *CANDIDATES),
    config=(
        "evaluation.release",
        "evaluation.validation_rows",
        "evaluation.max_new_tokens",
        "seed",
        "threads",
    ),
    kinds={"onnx"},
    code_version="2",
    seconds=8,
)
def release_candidate(job: Job) -> Summary:
    """The package to ship: the smallest one whose variant is within tolerance of the best on validation data.

    It holds the model, the tokenizer, the best prompts, the test numbers and the canary probes of
    monitoring. It was measured again after export. The note says why it was chosen."""
    import tempfile
    from pathlib import Path

    from llm_assets.alignment.examples import best_templates
    from llm_assets.evaluation.release import make_release

    with tempfile.TemporaryDirectory(prefix="llm-assets-release-") as work:
        return make_release(
            job.inputs["evaluation_report"],
            {name: job.inputs[name] for name in CANDIDATES},
            job.inputs["cleaned_documents"],
            best_templates(job.inputs["optimized_prompt"]),
            job.out,
            Path(work),
            job.recipe.evaluation,
            seed=job.recipe.seed,
            threads=job.recipe.threads,
            progress=job.progress,
        )
