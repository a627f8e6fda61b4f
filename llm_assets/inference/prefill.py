"""The graph that reads prompts: integer products of whole rows, about 1.6 times as fast as the one that decodes.

A quantized package keeps its weights in blocks, each with a scale, which suits decoding: that waits for memory. Reading
many tokens waits for arithmetic, and there blocks cost more than the products. So the weights are laid out once more
when a package is loaded, as int8 with one scale a column, and each row of activations is rounded to int8 by its own
largest value (the "vector-wise" quantization of Dettmers et al. 2022, LLM.int8(), section 3.1). The products are sums
of integers, so a row's result does not depend on what it is read with.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

LARGEST = 2**30  # bytes of weights: beyond it a second copy, and ONNX's limit on one message, would be a burden
CPU_FLAGS = {"avx512_vnni", "avx_vnni", "asimddp"}


def has_integer_products() -> bool:
    """Whether this CPU multiplies int8 and adds to int32 in one instruction. Without it ONNX Runtime's products of
    int8 are slower, and on x86 they saturate."""
    if platform.system() != "Linux":
        return platform.machine() == "arm64"
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    flags = next((line for line in info.splitlines() if line.lower().startswith(("flags", "features"))), "")
    return not CPU_FLAGS.isdisjoint(flags.split())


def prefill_graph(path: Path) -> bytes | None:
    """The package's graph with every MatMulNBits replaced; None where it has none, or is too large for a copy."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path), load_external_data=False)
    _read_external(model, path.parent)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
    if not products or sum(np.prod(weights[node.input[1]].dims) for node in products) > LARGEST:
        return None
    sources = {node.output[0]: node.input[0] for node in model.graph.node if node.op_type == "Cast"}
    constants = {
        "prefill/axes": np.array([-1]),
        "prefill/step": np.array(1 / 127, np.float32),
        "prefill/zero": np.array(128, np.uint8),
        "prefill/one": np.array(1, np.float32),
    }
    model.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    for node in products:
        _replace(model, node, weights[node.input[1]], weights[sources.get(node.input[2], node.input[2])])
    _drop_unused(model)
    return model.SerializeToString()


def _read_external(model: onnx.ModelProto, folder: Path) -> None:
    """Read the weights that lie beside the graph. onnx's own reader takes no file with a second hard link, which a
    package in a version store's cache has."""
    from onnx import TensorProto

    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            where = {entry.key: entry.value for entry in tensor.external_data}
            with (folder / Path(where["location"]).name).open("rb") as stream:
                stream.seek(int(where.get("offset", 0)))
                tensor.raw_data = stream.read(int(where["length"]))
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")


def _replace(model: onnx.ModelProto, node: onnx.NodeProto, table: Any, block_scales: Any) -> None:
    """x W as (quantized x) (quantized W), scaled back: by column in the product, by row after it."""
    from onnx import helper, numpy_helper

    shape = {entry.name: entry.i for entry in node.attribute}
    values = dequantized(numpy_helper.to_array(table), numpy_helper.to_array(block_scales), shape)
    scales = np.abs(values).max(axis=1) / 127
    columns = np.round(values / np.where(scales > 0, scales, 1)[:, None]).astype(np.int8).T
    name, rows = node.name, f"{node.name}/rows"
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(np.ascontiguousarray(columns), f"{name}/weight"),
            numpy_helper.from_array((scales / 127).astype(np.float32), f"{name}/scales"),
            numpy_helper.from_array(np.zeros(shape["N"], np.int8), f"{name}/zeros"),
        ]
    )
    product = [rows, f"{name}/weight", "prefill/one", f"{name}/scales", "prefill/zero", f"{name}/zeros"]
    nodes = [
        helper.make_node("Abs", [node.input[0]], [f"{name}/abs"]),
        helper.make_node("ReduceMax", [f"{name}/abs", "prefill/axes"], [f"{name}/largest"], keepdims=1),
        # A row of nothing but zeros becomes NaN here, any number in the next node, and 0 again in the last.
        helper.make_node("Div", [node.input[0], f"{name}/largest"], [f"{name}/unit"]),
        helper.make_node("QuantizeLinear", [f"{name}/unit", "prefill/step", "prefill/zero"], [rows]),
        helper.make_node("MatMulIntegerToFloat", product, [f"{name}/product"], domain="com.microsoft"),
        helper.make_node("Mul", [f"{name}/product", f"{name}/largest"], [node.output[0]]),
    ]
    at = list(model.graph.node).index(node)
    model.graph.node.remove(node)
    for offset, made in enumerate(nodes):
        model.graph.node.insert(at + offset, made)


def dequantized(table: np.ndarray, scales: np.ndarray, shape: dict[str, int]) -> np.ndarray:
    """The weights that a MatMulNBits multiplies with, float32 [N, K].

    table: uint8 [N, blocks, bytes of a block], 4-bit values low half first; scales: [N, blocks]. The zero point is the
    middle of the range.
    """
    bits = shape["bits"]
    if bits == 4:
        table = np.stack([table & 15, table >> 4], axis=-1)
    blocks = table.reshape(shape["N"], scales.size // shape["N"], -1).astype(np.float32) - 2 ** (bits - 1)
    values = blocks * scales.reshape(shape["N"], -1, 1).astype(np.float32)
    return values.reshape(shape["N"], -1)[:, : shape["K"]]


def _drop_unused(model: onnx.ModelProto) -> None:
    wanted = {name for node in model.graph.node for name in node.input} | {out.name for out in model.graph.output}
    for node in [node for node in model.graph.node if not wanted.intersection(node.output)]:
        model.graph.node.remove(node)
    wanted = {name for node in model.graph.node for name in node.input}
    for tensor in [tensor for tensor in model.graph.initializer if tensor.name not in wanted]:
        model.graph.initializer.remove(tensor)
