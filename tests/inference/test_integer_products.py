"""Integer products of whole rows against the package's own of blocks: the same model, rounded in another way."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest

from llm_assets.artifacts import PACKAGE, read_json, write_json
from llm_assets.compression.export import export_package
from llm_assets.errors import UserError
from llm_assets.inference import integer_products as products
from llm_assets.inference.integer_products import has_integer_products, integer_products
from llm_assets.inference.onnx_model import MODEL, SLOWER, OnnxModel, _Rows, cache_for
from llm_assets.inference.session import open_session
from llm_assets.models.llama import load_model

pytestmark = pytest.mark.skipif(
    not has_integer_products(), reason="a CPU with integer dot products: without, one graph reads and decodes"
)


@pytest.fixture(autouse=True)
def gain_by_any_size(monkeypatch):
    monkeypatch.setattr(products, "SMALLEST", 0)


@pytest.fixture(scope="module", params=[("int8", 2), ("int4", 2), ("int8", 1)], ids=str)
def package(request, tiny_checkpoint, tmp_path_factory):
    precision, layers = request.param
    model = load_model(tiny_checkpoint)
    assert len(model.model.layers) == 2
    model.model.layers, model.config.num_hidden_layers = model.model.layers[:layers], layers
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("checkpoint"), dirs_exist_ok=True)
    model.save_pretrained(checkpoint)
    folder = tmp_path_factory.mktemp("package")
    export_package(checkpoint, folder, precision, "finetuned_model")
    return folder


def test_int8_decodes_with_them_too_and_int4_with_blocks(package):
    model = OnnxModel(package, threads=1)
    assert (model._reader is model._decoder) == (model.package["precision"] == "int8")


def test_both_graphs_compute_alike(package):
    model = OnnxModel(package, threads=1)
    blocks = _Rows(open_session(package / MODEL, 1, SLOWER), pairs=True)
    assert model._reader is not blocks and not model._reader.pairs
    prompts = [np.random.default_rng(n).integers(5, model.vocab, n).tolist() for n in (1, 2, 17, 60)]
    caches = [cache_for(model, len(prompts), 128) for _ in range(2)]
    next_tokens, lengths = np.array([5, 6, 7, 8]), np.array([len(prompt) for prompt in prompts])
    quick = [model.read_prompts(caches[0], prompts), model.decode(caches[0], next_tokens, lengths)]
    model._reader = model._decoder = blocks
    slow = [model.read_prompts(caches[1], prompts), model.decode(caches[1], next_tokens, lengths)]
    for mine, theirs in zip(quick, slow, strict=True):
        assert np.linalg.norm(mine - theirs) < 0.05 * np.linalg.norm(theirs - theirs.mean(axis=1, keepdims=True))
    # Keys and values of all tokens are there, also in the last layer, which is computed no further for most of them.
    for mine, theirs in zip(caches[0].arrays, caches[1].arrays, strict=True):
        for row, prompt in enumerate(prompts):
            kept, expected = mine[row, :, : len(prompt)], theirs[row, :, : len(prompt)]
            assert np.linalg.norm(kept - expected) < 0.05 * np.linalg.norm(expected)


def test_a_small_package_has_one_graph_of_blocks(package, monkeypatch):
    monkeypatch.setattr(products, "SMALLEST", 2**23)
    model = OnnxModel(package, threads=1)
    assert model._reader is model._decoder and model._decoder.pairs


def test_a_package_in_full_precision_needs_no_second_graph(tiny_checkpoint, tmp_path):
    export_package(tiny_checkpoint, tmp_path, "fp32", "finetuned_model")
    assert integer_products(tmp_path / "model.onnx") is None
    model = OnnxModel(tmp_path, threads=1)
    assert model._reader is model._decoder


def test_a_package_of_the_format_before_is_still_read(tiny_checkpoint, tmp_path):
    export_package(tiny_checkpoint, tmp_path, "int8", "finetuned_model")
    package = read_json(tmp_path / PACKAGE)
    write_json(package | {"format": 2}, tmp_path / PACKAGE)
    model = OnnxModel(tmp_path, threads=1)
    assert model._reader is model._decoder
    assert model.read_prompts(cache_for(model, 1, 64), [[5, 6, 7]]).shape == (1, model.vocab)
    write_json(package | {"format": 1}, tmp_path / PACKAGE)
    with pytest.raises(UserError, match="of format 1, not 3"):
        OnnxModel(tmp_path)


def test_weights_that_are_not_whole_are_refused_by_name(tiny_checkpoint, tmp_path):
    export_package(tiny_checkpoint, tmp_path, "int8", "finetuned_model")
    weights = max(
        (path for path in tmp_path.iterdir() if path.name != "tokenizer.json"), key=lambda path: path.stat().st_size
    )
    os.truncate(weights, weights.stat().st_size // 2)
    with pytest.raises(UserError, match="cannot be loaded"):
        OnnxModel(tmp_path)
