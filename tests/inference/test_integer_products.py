"""Integer products of whole rows against the package's own of blocks: the same model, rounded in another way."""

from __future__ import annotations

import os
import platform
import shutil
import sys

import numpy as np
import pytest
from onnx import TensorProto, helper, load_model_from_string, numpy_helper

from llm_assets.artifacts import PACKAGE, read_json, write_json
from llm_assets.compression.export import export_package
from llm_assets.errors import UserError
from llm_assets.inference import integer_graph, onnx_model
from llm_assets.inference import integer_products as products
from llm_assets.inference.bound_rows import BoundRows
from llm_assets.inference.integer_products import AMX, cpu_flags, integer_products, rounding
from llm_assets.inference.onnx_model import MODEL, SLOWER, OnnxModel, cache_for
from llm_assets.inference.session import open_session
from llm_assets.models.llama import load_model

pytestmark = pytest.mark.skipif(
    rounding("int8", cpu_flags()) is None, reason="a CPU with AVX2 or integer dot products: without, one graph does all"
)
X86 = platform.machine() in ("x86_64", "AMD64")


@pytest.fixture(autouse=True, params=["with AMX", "without", *(["AVX2"] if X86 else [])])
def cpu(request, monkeypatch):
    """This CPU, whether it has AMX or not, and one that can do no more than AVX2; packages and products of any size
    gain."""
    monkeypatch.setattr(products, "SMALLEST", 0)
    monkeypatch.setattr(integer_graph, "SMALL", 0)
    flags = {"with AMX": cpu_flags() | {AMX}, "without": cpu_flags() - {AMX}, "AVX2": {"avx2"}}[request.param]
    monkeypatch.setattr(onnx_model, "cpu_flags", lambda: flags)
    return flags


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


def test_int8_decodes_with_them_too_but_on_amx(package, cpu):
    precision = read_json(package / PACKAGE)["precision"]
    graphs = integer_products(package / MODEL, precision, cpu)
    assert (graphs.few_rows is not None) == (precision == "int8" and AMX not in cpu)
    used = {node.op_type for node in load_model_from_string(graphs.few_rows or graphs.prompts).graph.node}
    assert "MatMulIntegerToFloat" in used and "MatMulNBits" not in used


def test_int4_decodes_with_them_where_its_weights_lie_in_the_caches(cpu, monkeypatch):
    monkeypatch.setattr(products, "SMALLEST", 2**23)
    assert products.decodes("int4", 2**20, cpu) == products.decodes("int8", 2**23, cpu) == (AMX not in cpu)
    assert not products.decodes("int4", 2**23, cpu)


def test_a_few_rows_take_a_node_less_a_product_than_prompts_and_give_the_same(package, cpu):
    graphs = integer_products(package / MODEL, "int8", cpu - {AMX})
    prompts, few = (load_model_from_string(graph).graph for graph in graphs)
    products = sum(node.op_type == "MatMulIntegerToFloat" for node in few.node)
    chosen = 2  # prompts choose their tokens in attention's result and in the stream, a few rows at the end alone
    assert len(prompts.node) - len(few.node) == products + chosen
    mine, theirs = decoded(package, graphs)
    assert np.allclose(mine, theirs, rtol=1e-2, atol=1e-2 * np.abs(mine).max())


def test_small_products_are_of_floats(package, cpu, monkeypatch):
    monkeypatch.setattr(products, "decodes", lambda *_: True)
    precision = read_json(package / PACKAGE)["precision"]
    whole = integer_products(package / MODEL, precision, cpu)
    weights = {tensor.name: tensor for tensor in load_model_from_string(whole.few_rows).graph.initializer}
    sizes = [np.prod(tensor.dims) for name, tensor in weights.items() if name.endswith("/weight")]
    monkeypatch.setattr(integer_graph, "SMALL", max(sizes) - 1)
    graphs = integer_products(package / MODEL, precision, cpu)
    for graph in graphs:
        kinds = [node.op_type for node in load_model_from_string(graph).graph.node]
        assert kinds.count("MatMulIntegerToFloat") == 1 and kinds.count("MatMul") == len(sizes) - 1
        assert kinds.count("Expand") == 1  # zero points for whole rows alone
    mine, theirs = decoded(package, [graphs.few_rows, whole.few_rows])
    near = 0.05 if rounding(precision, cpu).largest == 127 else 0.15  # 7 bits are coarser
    assert np.linalg.norm(mine - theirs) < near * np.linalg.norm(theirs)


def test_with_nothing_but_small_products_no_value_is_rounded(package, cpu, monkeypatch):
    """Then the model is the one that the package's weights make in floats."""
    monkeypatch.setattr(products, "decodes", lambda *_: True)
    monkeypatch.setattr(integer_graph, "SMALL", 2**40)
    graphs = integer_products(package / MODEL, read_json(package / PACKAGE)["precision"], cpu)
    for graph in graphs:
        kinds = {node.op_type for node in load_model_from_string(graph).graph.node}
        assert "MatMul" in kinds
        assert not kinds & {"QuantizeLinear", "MatMulIntegerToFloat", "MatMulNBits", "Abs", "ReduceMax", "Expand"}
    mine, theirs = decoded(package, [graphs.few_rows, package / MODEL])
    assert np.linalg.norm(mine - theirs) < 0.02 * np.linalg.norm(theirs)  # there activations are rounded by blocks


def decoded(package, graphs):
    """The same rows' logits by both graphs."""
    model = OnnxModel(package, threads=1)
    for graph in graphs:
        model._decoder = BoundRows(open_session(graph, 1, SLOWER))
        cache = cache_for(model, 3, 64)
        model.read_prompts(cache, [[5, 6, 7], [9], [8, 7]])
        yield model.decode(cache, np.array([5, 6, 7]), np.array([3, 1, 2]))


@pytest.mark.parametrize("precision", ["int8", "int4"])
@pytest.mark.parametrize("tokens", [1, 2, 7, 64])
def test_no_sum_saturates_however_large_its_products_are(precision, tokens, cpu):
    width, columns = 256, 32
    weights, scales, zero = rounding(precision, cpu).rounded(np.ones((columns, width), np.float32))
    node = helper.make_node(
        "MatMulIntegerToFloat", ["a", "b", "a_scale", "b_scales", "a_zero", "b_zero"], ["y"], domain="com.microsoft"
    )
    given = [helper.make_tensor_value_info("a", TensorProto.UINT8, ["tokens", width])]
    found = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["tokens", columns])]
    constants = {
        **{"b": weights, "a_scale": np.array(1, np.float32), "b_scales": scales},
        **{"a_zero": np.array(128, np.uint8), "b_zero": zero},
    }
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "product", given, found, tensors)
    model = helper.make_model(graph, opset_imports=imports, ir_version=10)
    session = open_session(model.SerializeToString(), 1)
    for extreme in (255, 1):
        rows = np.full((tokens, width), extreme, np.uint8)
        expected = np.full((tokens, columns), (extreme - 128.0) * width)
        assert np.allclose(session.run(None, {"a": rows})[0], expected, rtol=1e-6)


def test_a_cpu_without_avx2_keeps_the_packages_own_graph(package, monkeypatch):
    monkeypatch.setattr(onnx_model, "cpu_flags", lambda: {"sse4_2"})
    model = OnnxModel(package, threads=1)
    assert model._reader is model._decoder


def test_both_graphs_compute_alike(package, cpu):
    model = OnnxModel(package, threads=1)
    blocks = BoundRows(open_session(package / MODEL, 1, SLOWER))
    assert not model._reader.pairs
    prompts = [np.random.default_rng(n).integers(5, model.vocab, n).tolist() for n in (1, 2, 17, 60)]
    caches = [cache_for(model, len(prompts), 128) for _ in range(2)]
    next_tokens, lengths = np.array([5, 6, 7, 8]), np.array([len(prompt) for prompt in prompts])
    quick = [model.read_prompts(caches[0], prompts), model.decode(caches[0], next_tokens, lengths)]
    model._reader = model._decoder = blocks
    slow = [model.read_prompts(caches[1], prompts), model.decode(caches[1], next_tokens, lengths)]
    near = 0.05 if rounding(model.package["precision"], cpu).largest == 127 else 0.15  # 7 bits are coarser
    for mine, theirs in zip(quick, slow, strict=True):
        assert np.linalg.norm(mine - theirs) < near * np.linalg.norm(theirs - theirs.mean(axis=1, keepdims=True))
    # Keys and values of all tokens are there, also in the last layer, which is computed no further for most of them.
    for mine, theirs in zip(caches[0].arrays, caches[1].arrays, strict=True):
        for row, prompt in enumerate(prompts):
            kept, expected = mine[row, :, : len(prompt)], theirs[row, :, : len(prompt)]
            assert np.linalg.norm(kept - expected) < near * np.linalg.norm(expected)


def test_a_session_does_not_keep_the_graph_that_it_was_loaded_from(package, cpu):
    graph = integer_products(package / MODEL, "int8", cpu).prompts
    before = sys.getrefcount(graph)
    session = open_session(graph, 1, SLOWER)
    assert sys.getrefcount(graph) == before and session.get_inputs()


@pytest.mark.parametrize("flags", [{"avx2"}, {"avx512_vnni"}, {"avx512_vnni", AMX}], ids=["AVX2", "VNNI", "AMX"])
def test_only_with_amx_a_small_package_has_one_graph_of_blocks(package, monkeypatch, flags):
    monkeypatch.setattr(products, "SMALLEST", 2**23)
    assert (integer_products(package / MODEL, "int8", flags) is None) == (AMX in flags)


def test_a_package_in_full_precision_needs_no_second_graph(tiny_checkpoint, tmp_path, cpu):
    export_package(tiny_checkpoint, tmp_path, "fp32", "finetuned_model")
    assert integer_products(tmp_path / "model.onnx", "fp32", cpu) is None
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
