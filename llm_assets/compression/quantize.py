"""The int8 ONNX package of a checkpoint, and whether it still decides as its parent does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_assets.alignment.examples import sample_examples, split_rows
from llm_assets.artifacts import Progress, Summary, no_progress
from llm_assets.compression.config import CompressionConfig
from llm_assets.compression.export import export_package, model_bytes
from llm_assets.compression.measure import accuracy, agreement, decide, summary_f1
from llm_assets.inference import torch_setup
from llm_assets.prompts import PromptTemplate


def quantize_model(
    parent: Path,
    parent_name: str,
    cleaned: Path,
    templates: Mapping[str, PromptTemplate],
    out: Path,
    config: CompressionConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write the package into `out`; parity is measured on validation documents, decision by decision."""
    torch_setup(seed, threads)
    rows = split_rows(cleaned, "validation")
    labels = sorted(set(rows["label"].drop_null().to_pylist()))
    progress(0, 3, "ONNX export")
    export_package(parent, out, "int8", parent_name, {"labels": labels})
    held_out = sample_examples(rows, templates, config.quantization.validation_rows, seed)
    progress(1, 3, "parent's answers")
    expected = decide(parent, held_out, templates, config.max_new_tokens, threads)
    progress(2, 3, "int8 answers")
    answers = decide(out, held_out, templates, config.max_new_tokens, threads)
    shares = agreement(held_out, expected, answers)
    before, after = accuracy(held_out, expected), accuracy(held_out, answers)
    sizes = {"fp32": model_bytes(parent), "int8": model_bytes(out)}
    metrics: dict[str, Any] = {
        "accuracy_parent": round(before, 4),
        "accuracy": round(after, 4),
        "accuracy_drop": round(before - after, 4),
        "agreement": round(shares["all"], 4),
        "lowest_label_agreement": round(min(shares.values()), 4),
        "summary_f1_parent": round(summary_f1(held_out, expected), 4),
        "summary_f1": round(summary_f1(held_out, answers), 4),
        "size_ratio": round(sizes["fp32"] / sizes["int8"], 3),
        "bytes": sizes["int8"],
    }
    changed = [row for row in range(len(held_out)) if expected[row] != answers[row]]
    return Summary(
        metrics=metrics,
        bars={
            "bytes": {name: float(size) for name, size in sizes.items()},
            "decisions shared with the parent, by label": shares,
        },
        samples=[{"true": held_out[row].answer, "parent": expected[row], "int8": answers[row]} for row in changed[:8]],
        note=f"{len(changed)} of {len(held_out)} answers differ from the parent's.",
    )
