"""The release candidate: the smallest package whose variant is about as good as the best, checked once more
as it is.

A variant is chosen on validation data only; the test numbers travel with the package but decide nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_assets.alignment.examples import sample_examples, split_rows
from llm_assets.artifacts import (
    CHECKPOINT,
    PACKAGE,
    REPORT,
    SAMPLES,
    Progress,
    Summary,
    no_progress,
    read_json,
    write_json,
)
from llm_assets.compression.export import export_package, model_bytes
from llm_assets.compression.measure import accuracy, decide
from llm_assets.errors import UserError
from llm_assets.evaluation.config import EvaluationConfig
from llm_assets.inference import torch_setup
from llm_assets.prompts import PromptTemplate

QUANTIZED = "quantized_model"
TEST_NUMBERS = ("accuracy", "macro_f1", "perplexity", "summary_f1", "summary_rouge_l")


def make_release(
    report: Path,
    variants: Mapping[str, Path],
    cleaned: Path,
    templates: Mapping[str, PromptTemplate],
    out: Path,
    work: Path,
    config: EvaluationConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write the chosen package into `out`. variants: asset -> checkpoint (or package: `quantized_model`).

    work: a scratch folder. Candidates are tried from the smallest package on; one that loses accuracy on
    its way into the package is passed over. Raises UserError if none is left.
    """
    torch_setup(seed, threads)
    scores = read_json(report / REPORT)["variants"]
    canary_rows = split_rows(cleaned, "canary")
    validation_rows = split_rows(cleaned, "validation")
    examples = sample_examples(validation_rows, templates, {"route": config.validation_rows}, seed)
    if not examples:
        raise UserError("release_candidate: the validation split has no labelled document to choose a variant by")
    labels = sorted(set(validation_rows["label"].drop_null().to_pylist()))
    best = max(scores[name]["validation_accuracy"] for name in variants)
    packages: dict[str, Path] = {}
    for name, folder in variants.items():
        progress(len(packages), len(variants) + 1, f"package of {name}")
        packages[name] = folder
        if not (folder / PACKAGE).is_file():
            packages[name] = work / name
            export_package(folder, packages[name], config.release.precision, name)
    passed_over = []
    if config.release.checkpoint:
        without = [name for name, folder in variants.items() if packages[name] == folder]
        passed_over = [f"{name} has no checkpoint" for name in without]
        packages = {name: folder for name, folder in packages.items() if name not in without}
    sizes = {name: model_bytes(folder) for name, folder in packages.items()}
    for name in sorted(packages, key=lambda name: (sizes[name], name != QUANTIZED, name)):
        expected = scores[name]["validation_accuracy"]
        if expected < best - config.release.tolerance:
            passed_over.append(f"{name} routes {expected:.1%} of the validation documents")
            continue
        progress(len(variants), len(variants) + 1, f"verifying {name}")
        measured = accuracy(examples, decide(packages[name], examples, templates, config.max_new_tokens, threads))
        if measured < expected - config.release.verify_tolerance:
            passed_over.append(f"{name}'s package routes {measured:.1%} where {name} routes {expected:.1%}")
            continue
        package = {
            **read_json(packages[name] / PACKAGE),
            "labels": labels,
            "tasks": {task: template.model_dump(mode="json") for task, template in sorted(templates.items())},
            "metrics": {key: scores[name][key] for key in TEST_NUMBERS if key in scores[name]},
            "canary": _canaries(canary_rows, labels, config.release.canaries, seed),
        }
        for path in sorted(packages[name].iterdir()):
            if path.name != SAMPLES:
                shutil.copyfile(path, out / path.name)
        if config.release.checkpoint:
            shutil.copytree(variants[name], out / CHECKPOINT, copy_function=shutil.copyfile)
        write_json(package, out / PACKAGE)
        return _summary(name, package, sizes, scores, measured, best, config, passed_over)
    raise UserError(f"release_candidate: no variant is fit to ship: {'; '.join(passed_over)}")


def _canaries(rows: Any, labels: list[str], count: int, seed: int) -> list[dict[str, str]]:
    """Labelled documents of the canary split with their exact answers; none of a label the model does not
    know.
    """
    import numpy as np

    usable = [row for row in rows.select(["text", "label"]).to_pylist() if row["text"] and row["label"] in labels]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(usable))[:count])
    return [{"task": "route", "text": usable[i]["text"], "answer": usable[i]["label"]} for i in chosen]


def _summary(
    name: str,
    package: Mapping[str, Any],
    sizes: Mapping[str, int],
    scores: Mapping[str, Mapping[str, Any]],
    measured: float,
    best: float,
    config: EvaluationConfig,
    passed_over: list[str],
) -> Summary:
    expected = scores[name]["validation_accuracy"]
    reason = (
        f"**{name}** ships as {package['precision']}: the smallest package ({sizes[name] / 1e6:.2f} MB) within "
        f"{config.release.tolerance:.1%} of the best validation accuracy ({best:.1%}). Exported, it routes "
        f"{measured:.1%} of the validation documents."
    )
    if passed_over:
        reason += f" Passed over, although smaller: {'; '.join(passed_over)}."
    metrics: dict[str, Any] = {
        "variant": name,
        "precision": package["precision"],
        "bytes": sizes[name],
        "validation_accuracy": round(measured, 4),
        "variant_validation_accuracy": expected,
        "export_drop": round(expected - measured, 4),
        "best_drop": round(best - measured, 4),
        "canaries": len(package["canary"]),
        "labels": len(package["labels"]),
    }
    return Summary(
        metrics={**metrics, **package["metrics"]},
        bars={
            "bytes of the package": {other: float(size) for other, size in sizes.items()},
            "validation accuracy of the variant": {other: scores[other]["validation_accuracy"] for other in sizes},
        },
        samples=[{"probe": row["text"][:200], "answer": row["answer"]} for row in package["canary"][:6]],
        note=reason,
    )
