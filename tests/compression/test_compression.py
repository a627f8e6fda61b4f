"""Pruning, distillation and int8 on a real tiny model: shapes shrink, decisions stay."""

from __future__ import annotations

import json

import numpy as np
import pytest

from llm_assets.alignment.examples import base_templates, sample_examples, split_rows
from llm_assets.artifacts import PACKAGE, read_json
from llm_assets.compression.config import (
    CompressionConfig,
    DistillationConfig,
    PruningConfig,
    QuantizationConfig,
    TuningConfig,
)
from llm_assets.compression.distill import distill_model, smaller_copy, student_shape
from llm_assets.compression.export import export_package
from llm_assets.compression.measure import agreement
from llm_assets.compression.prune import importances, prune_model, remove_neurons
from llm_assets.compression.quantize import quantize_model
from llm_assets.errors import UserError
from llm_assets.models.llama import load_model
from llm_assets.models.tokenizer import load_tokenizer

TUNING = TuningConfig(steps=12, batch_size=16)
CONFIG = CompressionConfig(
    validation_rows={"route": 20},
    max_new_tokens=12,
    pruning=PruningConfig(keep=0.5, calibration_rows=16, recovery=TUNING),
    distillation=DistillationConfig(depth=0.5, width=0.5, calibration_rows=16, tuning=TUNING),
    quantization=QuantizationConfig(validation_rows={"route": 20, "summarise": 4}),
)


@pytest.fixture(scope="module")
def templates(tiny_inputs):
    return base_templates(tiny_inputs / "prompts")


@pytest.fixture(scope="module")
def prompts(tiny_inputs, templates):
    rows = split_rows(tiny_inputs / "documents", "train")
    return [e.prompt for e in sample_examples(rows, templates, {"route": 24}, 7)]


def test_removing_useless_neurons_changes_nothing(tiny_checkpoint, prompts):
    import torch

    model, tokenizer = load_model(tiny_checkpoint), load_tokenizer(tiny_checkpoint)
    dead = torch.arange(0, 128, 2)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.down_proj.weight[:, dead] = 0
    scores = importances(model, tokenizer, prompts)
    assert all(float(score[dead].max()) == 0 < float(score.max()) for score in scores)
    smaller = remove_neurons(model, scores, 64)
    assert smaller.model.layers[0].mlp.up_proj.weight.shape == (64, 64)
    ids = torch.tensor([tokenizer.encode(prompts[0])])
    with torch.inference_mode():
        assert torch.allclose(smaller(ids).logits, model(ids).logits, atol=1e-4)


def test_pruned_model_is_smaller_and_recovers(tiny_checkpoint, tiny_inputs, templates, tmp_path):
    arguments = (tiny_checkpoint, tiny_inputs / "balanced", tiny_inputs / "documents", templates)
    summary = prune_model(*arguments, tmp_path / "a", CONFIG, 7, 1)
    assert read_json(tmp_path / "a" / "config.json")["intermediate_size"] == 64
    assert summary.metrics["parameters"] < summary.metrics["parameters_before"]
    assert summary.metrics["size_ratio"] > 1
    assert summary.metrics["accuracy"] >= summary.metrics["accuracy_unrecovered"] - 0.1
    prune_model(*arguments, tmp_path / "b", CONFIG, 7, 1)
    assert (tmp_path / "a" / "model.safetensors").read_bytes() == (tmp_path / "b" / "model.safetensors").read_bytes()


def test_student_is_shallower_and_narrower(tiny_checkpoint, tiny_inputs, templates, tmp_path):
    summary = distill_model(
        tiny_checkpoint, tiny_inputs / "balanced", tiny_inputs / "documents", templates, tmp_path, CONFIG, 7, 1
    )
    config = read_json(tmp_path / "config.json")
    assert (config["num_hidden_layers"], config["hidden_size"], config["head_dim"]) == (1, 32, 32)
    assert summary.metrics["size_ratio"] > 1.5
    assert summary.curves["distillation loss"][-1][1] < summary.curves["distillation loss"][0][1]
    export_package(tmp_path, tmp_path / "package", "int8", "distilled_model")  # it can be shipped


def test_a_copy_with_everything_is_the_model(tiny_checkpoint, prompts):
    import torch

    model, tokenizer = load_model(tiny_checkpoint), load_tokenizer(tiny_checkpoint)
    copy = smaller_copy(model, 2, torch.arange(64))
    ids = torch.tensor([tokenizer.encode(prompts[0])])
    with torch.inference_mode():
        assert torch.equal(copy(ids).logits, model(ids).logits)


def test_a_student_as_large_as_its_teacher_is_refused(tiny_checkpoint, tiny_inputs, templates, tmp_path):
    config = CompressionConfig(distillation=DistillationConfig(depth=1, width=1, tuning=TUNING))
    assert student_shape(load_model(tiny_checkpoint).config, config) == (2, 64)
    with pytest.raises(UserError, match="as large as its teacher"):
        distill_model(
            tiny_checkpoint, tiny_inputs / "balanced", tiny_inputs / "documents", templates, tmp_path, config, 7, 1
        )


def test_quantized_model_decides_as_its_parent(tiny_checkpoint, tiny_inputs, templates, tmp_path):
    summary = quantize_model(
        tiny_checkpoint, "aligned_model", tiny_inputs / "documents", templates, tmp_path, CONFIG, 7, 1
    )
    assert summary.metrics["agreement"] >= 0.9
    assert summary.metrics["accuracy_drop"] <= 0.1
    package = read_json(tmp_path / PACKAGE)
    assert (package["parent"], package["precision"]) == ("aligned_model", "int8")
    assert package["labels"] == ["arrays", "tables", "web"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "model.onnx",
        "model.onnx.data",
        "package.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def test_agreement_by_label(tiny_inputs, templates):
    examples = sample_examples(split_rows(tiny_inputs / "documents", "train"), templates, {"route": 10}, 7)
    answers = [example.answer for example in examples]
    changed = ["other", *answers[1:]]
    shares = agreement(examples, answers, changed)
    assert shares["all"] == pytest.approx(0.9)
    assert shares[answers[0]] < 1
    assert np.isclose(agreement(examples, answers, answers)["all"], 1)


def test_other_architectures_are_refused_by_name(tiny_checkpoint, tmp_path):
    config = read_json(tiny_checkpoint / "config.json")
    for change, message in (
        ({"architectures": ["GPT2LMHeadModel"]}, "GPT2LMHeadModel"),
        ({"tie_word_embeddings": False}, "untied embeddings"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(UserError, match=message):
            export_package(tmp_path, tmp_path / "out", "int8", "aligned_model")
