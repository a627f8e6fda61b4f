"""The evaluation report: every variant and a baseline on one test split, as data (`report.json`) and to be
read (`report.html`). Both hold only what is the same on every run; latencies go into the summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_assets.alignment.examples import sample_examples, split_rows
from llm_assets.artifacts import REPORT, Progress, Summary, no_progress, write_json
from llm_assets.errors import UserError
from llm_assets.evaluation.baseline import baseline_scores
from llm_assets.evaluation.config import EvaluationConfig
from llm_assets.evaluation.html import page
from llm_assets.evaluation.scores import latency, variant_scores
from llm_assets.inference import torch_setup
from llm_assets.prompts import PromptTemplate

HTML = "report.html"
BASELINE = "tf-idf + logistic regression"
SHOWN = ("accuracy", "macro_f1", "validation_accuracy", "perplexity", "summary_f1", "summary_rouge_l", "size_mb")


def evaluate(
    variants: Mapping[str, Path],
    cleaned: Path,
    balanced: Path,
    templates: Mapping[str, PromptTemplate],
    out: Path,
    config: EvaluationConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write report and page into `out`. variants: asset name -> checkpoint or package, compared in that
    order.

    Raises UserError if the test split has no document to route.
    """
    torch_setup(seed, threads)
    rows = split_rows(cleaned, "test")
    test = sample_examples(rows, templates, config.test_rows, seed)
    routed = {example.document_id for example in test if example.task == "route"}
    if not routed:
        raise UserError("evaluation_report: the test split of cleaned_documents has no labelled document; add data")
    validation = sample_examples(split_rows(cleaned, "validation"), templates, {"route": config.validation_rows}, seed)
    scores: dict[str, dict[str, Any]] = {}
    times: dict[str, float] = {}
    for done, (name, folder) in enumerate(variants.items()):
        progress(done, len(variants) + 1, name)
        scores[name] = variant_scores(
            folder, test, validation, templates, config.max_new_tokens, config.perplexity_rows, threads
        )
        times[name] = latency(folder, test[: config.latency_requests], config.max_new_tokens, threads)
    progress(len(variants), len(variants) + 1, BASELINE)
    documents = [row for row in rows.select(["id", "text", "label"]).to_pylist() if row["id"] in routed]
    baseline = baseline_scores(
        split_rows(balanced, "train"),
        [row["text"] for row in documents],
        [row["label"] for row in documents],
        config.baseline,
        seed,
    )
    report = {
        "baseline": baseline,
        "prompts": {task: template.name for task, template in sorted(templates.items())},
        "test_rows": {task: sum(e.task == task for e in test) for task in sorted({e.task for e in test})},
        "validation_rows": len(validation),
        "variants": scores,
    }
    write_json(report, out / REPORT)
    (out / HTML).write_text(page(report, BASELINE), encoding="utf-8")
    return _summary(report, times)


def _summary(report: Mapping[str, Any], times: Mapping[str, float]) -> Summary:
    scores, baseline = report["variants"], report["baseline"]
    metrics: dict[str, Any] = {"test_rows": report["test_rows"]["route"], "baseline_accuracy": baseline["accuracy"]}
    for name, values in scores.items():
        short = name.removesuffix("_model")
        metrics |= {f"{short}_{key}": values[key] for key in SHOWN if key in values}
        metrics[f"{short}_latency_ms"] = round(times[name], 2)
    if "finetuned_model" in scores:
        metrics["accuracy"] = scores["finetuned_model"]["accuracy"]
    if "quantized_model" in scores and "aligned_model" in scores:
        parent, int8 = scores["aligned_model"], scores["quantized_model"]
        metrics["int8_drop"] = round(parent["accuracy"] - int8["accuracy"], 4)
        metrics["int8_size_ratio"] = round(parent["size_mb"] / int8["size_mb"], 3)
    by_name = {**scores, BASELINE: baseline}
    best = max(scores, key=lambda name: scores[name]["accuracy"])
    slices = scores[best]["per_label"]
    return Summary(
        metrics=metrics,
        bars={
            "routing accuracy on the test split": {name: values["accuracy"] for name, values in by_name.items()},
            "macro-F1": {name: values["macro_f1"] for name, values in by_name.items()},
            "size (MB)": {name: values["size_mb"] for name, values in scores.items()},
            "median latency of one request (ms)": {name: round(value, 2) for name, value in times.items()},
            f"recall by label, {best}": {label: values["recall"] for label, values in slices.items()},
        },
        samples=[
            {
                "variant": best,
                "true label": row["true"],
                "predicted": row["predicted"],
                "documents": str(row["count"]),
            }
            for row in scores[best]["confusions"]
        ],
        note=f"Best on test: **{best}** with {scores[best]['accuracy']:.1%}; the baseline, which reads whole "
        f"documents, reaches {baseline['accuracy']:.1%}. `report.html` in this version holds the full page.",
    )
