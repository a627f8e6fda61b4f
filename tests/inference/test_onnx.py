"""A package against the checkpoint it was exported from: the same tokens, one by one and in mixed batches."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from llm_assets.alignment.examples import base_templates, sample_examples, split_rows
from llm_assets.compression.export import export_package, model_bytes
from llm_assets.errors import UserError
from llm_assets.inference import load_generator
from llm_assets.inference.onnx_model import OnnxModel
from llm_assets.models.llama import load_model


@pytest.fixture(scope="module")
def packages(tiny_checkpoint, tmp_path_factory):
    root = tmp_path_factory.mktemp("packages")
    for precision in ("fp32", "int8"):
        export_package(tiny_checkpoint, root / precision, precision, "finetuned_model")
    return root


@pytest.fixture(scope="module")
def examples(tiny_inputs):
    rows = split_rows(tiny_inputs / "documents", "train")
    return sample_examples(rows, base_templates(tiny_inputs / "prompts"), {"route": 30, "summarise": 20}, 7)


def test_fp32_package_gives_the_tokens_of_transformers_generate(packages, tiny_checkpoint, examples):
    import torch

    model, package = load_model(tiny_checkpoint), OnnxModel(packages / "fp32", threads=1)
    for example in examples:
        ids = package.tokenizer.encode(example.prompt).ids
        with torch.inference_mode():
            expected = model.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, eos_token_id=None)
        state, logits = package.prefill([ids], len(ids) + 12)
        got = [int(logits.argmax())]
        while len(got) < 12:
            got.append(int(package.decode(state, np.array(got[-1:])).argmax()))
        assert got == expected[0, len(ids) :].tolist()


def test_generators_of_checkpoint_and_package_agree(packages, tiny_checkpoint, examples):
    prompts, answers = [e.prompt for e in examples], [e.answer for e in examples]
    torch_answers = load_generator(tiny_checkpoint, 1).generate(prompts, 12)
    exact = load_generator(packages / "fp32", 1)
    assert exact.generate(prompts, 12, batch_size=7) == torch_answers
    expected = load_generator(tiny_checkpoint, 1).answer_loss(prompts, answers)
    assert np.allclose(exact.answer_loss(prompts, answers, batch_size=7), expected, atol=1e-4)
    int8 = load_generator(packages / "int8", 1).generate(prompts, 12)
    assert np.mean([a == b for a, b in zip(int8, torch_answers, strict=True)]) >= 0.9


def test_rows_of_a_batch_may_be_at_different_positions(packages, examples):
    """Sequences join and leave a running batch, and none notices."""
    package = OnnxModel(packages / "fp32", threads=1)
    first, second, third = (package.tokenizer.encode(e.prompt).ids for e in examples[:3])

    def alone(ids, tokens):
        state, logits = package.prefill([ids], 100)
        steps = [logits[0]]
        for token in tokens:
            steps.append(package.decode(state, np.array([token]))[0])
        return steps

    tokens = [11, 12, 13]
    state, _ = package.prefill([first], 100)
    package.decode(state, np.array([11]))
    joined, _ = package.prefill([second, third], 100)
    both = state.join(joined)
    logits = package.decode(both, np.array([12, 11, 11]))
    kept = both.keep([2, 0])
    last = package.decode(kept, np.array([12, 13]))
    assert np.allclose(logits[0], alone(first, tokens)[2], atol=1e-5)
    assert np.allclose(logits[1], alone(second, tokens)[1], atol=1e-5)
    assert np.allclose(last[0], alone(third, [11, 12])[2], atol=1e-5)
    assert np.allclose(last[1], alone(first, tokens)[3], atol=1e-5)


def test_int8_shrinks_the_embedding_too(packages, tiny_checkpoint):
    # 64 dimensions leave much of the file to graph and scales; the demo's gate asks for 3.5.
    assert model_bytes(tiny_checkpoint) / model_bytes(packages / "int8") > 3


def test_export_is_byte_identical_and_prints_nothing(tiny_checkpoint, packages, tmp_path, capfd):
    import logging

    handlers = logging.getLogger().handlers[:]
    export_package(tiny_checkpoint, tmp_path / "again", "int8", "finetuned_model")
    assert logging.getLogger().handlers == handlers
    assert capfd.readouterr() == ("", "")
    for path in sorted((packages / "int8").iterdir()):
        again = (tmp_path / "again" / path.name).read_bytes()
        assert hashlib.sha256(again).digest() == hashlib.sha256(path.read_bytes()).digest(), path.name
        assert str(tmp_path).encode() not in again


def test_what_cannot_be_run_is_refused_by_name(packages, tmp_path):
    with pytest.raises(UserError, match="not a model package"):
        OnnxModel(tmp_path)
    package = OnnxModel(packages / "fp32", threads=1)
    with pytest.raises(ValueError, match="context"):
        package.prefill([[1, 2]], 4096)
    with pytest.raises(ValueError, match="prompts must have"):
        package.prefill([[1] * 20], 10)
    state, _ = package.prefill([[1, 2]], 2)
    with pytest.raises(ValueError, match="full"):
        package.decode(state, np.array([3]))
    for path in (packages / "fp32").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes()[: 300 if path.name == "model.onnx" else None])
    with pytest.raises(UserError, match="cannot be loaded"):
        OnnxModel(tmp_path)
