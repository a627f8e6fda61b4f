"""A decoder's graph rewritten to read prompts: products of int8, and no pass over the activations that can be saved.

Weights get one scale a column, and each row of activations is rounded to int8 by its own largest value (the
"vector-wise" quantization of Dettmers et al. 2022, LLM.int8(), section 3.1). The products are sums of integers, so a
row's result does not depend on what it is read with. Every node costs time, however few rows it has, so there are as
few as can be: a row's largest value, its rounding (one block of `QuantizeLinear` is a row), the product. The scales of
a product's rows are applied where they can no longer be put off. Of the last layer, whose states nobody reads else,
only keys, values and attention are computed for all tokens, the rest for those whose logits are asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import onnx

EXTENSIONS = "com.microsoft"
NORM = "SimplifiedLayerNormalization"


@dataclass(frozen=True)
class Rounding:
    """How a column of weights is rounded: to -largest … largest, times its scale; as int8, or as uint8 around 128."""

    largest: int
    signed: bool

    def rounded(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of weights float32 [N, K]: integers [K, N], scales float32 [N], and zero points [N]."""
        scales = np.abs(values).max(axis=1) / self.largest
        kind, zero = (np.int8, 0) if self.signed else (np.uint8, 128)
        columns = np.round(values / np.where(scales > 0, scales, 1)[:, None]).T + zero
        return np.ascontiguousarray(columns.astype(kind)), scales.astype(np.float32), np.full(len(values), zero, kind)


def integer_graph(model: onnx.ModelProto, rounding: Rounding) -> onnx.ModelProto:
    """The graph that `compression.export` writes, its weights within it, with every MatMulNBits replaced. Inputs and
    outputs stay as they are."""
    graph = IntegerGraph(model, rounding)
    for node in model.graph.node:
        inputs = [graph.names.get(name, name) for name in node.input]
        if node.op_type == "MatMulNBits":
            graph.product(node, inputs[0])
        elif node.op_type == "Mul" and inputs[1] in graph.scales:
            graph.gate(node, inputs)
        elif node.op_type in ("Add", NORM):
            graph.stream(node, inputs)
        elif node.op_type == "GroupQueryAttention":
            graph.attention(node, inputs)
        elif node.name.startswith("chosen/"):
            graph.names[node.output[0]] = inputs[0]  # `attention` has chosen already
        else:
            graph.copy(node, inputs)
    del model.graph.node[:]
    model.graph.node.extend(graph.nodes)
    used = {name for node in graph.nodes for name in node.input}
    tensors = [tensor for tensor in (*model.graph.initializer, *graph.constants) if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
    return model


class IntegerGraph:
    """Takes the old graph's nodes one by one, and writes the new ones.

    names: of the new graph's tensors, where the old one's differ. scales: of tensors whose rows are still to be
    multiplied, the name of what by: [batch, tokens, 1].
    """

    def __init__(self, model: onnx.ModelProto, rounding: Rounding) -> None:
        nodes = list(model.graph.node)
        self._rounding = rounding
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.names: dict[str, str] = {}
        self.scales: dict[str, str] = {}
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        self._weights |= {node.output[0]: self._weights[node.input[0]] for node in nodes if node.op_type == "Cast"}
        self._products = {node.input[0]: node for node in nodes if node.op_type == "MatMulNBits"}
        self._width = next(self._weights[node.input[1]].dims[0] for node in nodes if node.op_type == NORM)
        self._last = [node.name for node in nodes if node.op_type == "GroupQueryAttention"][-1]
        self._quantized: dict[str, tuple[str, str]] = {}
        self._stream, self._tokens = "", "all"
        self._begin()

    def _begin(self) -> None:
        """Constants, and the zero points of the rows that a call has: one each, as many dimensions as the rows."""
        self._constant("one", np.array(1, np.float32))
        self._constant("step", np.array(1 / 127, np.float32))
        self._constant("middle", np.array(128, np.uint8))
        self._constant("end", np.array([-1]))
        self._constant("single", np.array([1]))
        for tokens, source in (("all", "input_ids"), ("chosen", "logit_rows")):
            count = self._add("Shape", [source], f"{tokens}/count")
            column = self._add("Concat", [count, "single"], f"{tokens}/column", axis=0)
            self._add("Expand", ["middle", column], f"{tokens}/middles")

    def _constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(value, name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes))
        return output

    def _chosen(self, value: str, width: int) -> str:
        """Of [batch, tokens, width] the tokens that logits are asked for, [chosen, width]."""
        shape = self._constant(f"{value}/shape", np.array([-1, width]))
        rows = self._add("Reshape", [value, shape], f"{value}/rows")
        return self._add("Gather", [rows, "logit_rows"], f"{value}/chosen", axis=0)

    def copy(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """As it was, with the rows of what it reads scaled."""
        for index, name in enumerate(inputs):
            node.input[index] = self._scaled(name)
        self.nodes.append(node)

    def _scaled(self, name: str) -> str:
        """`name` with its rows multiplied, where that is still to be done."""
        scale = self.scales.get(name)
        return self._add("Mul", [name, scale], f"{name}/scaled") if scale else name

    def stream(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """What is added to the residual stream, or its norm."""
        if node.op_type == "Add" or not self._stream:  # the first norm is that of the embedding
            self._stream = node.output[0] if node.op_type == "Add" else node.input[0]
        self.copy(node, inputs)

    def attention(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """After the last one, only the tokens asked for go on."""
        self.copy(node, inputs)
        if node.name == self._last:
            self._tokens, found = "chosen", node.output[0]
            width = next(entry.i for entry in self._products[found].attribute if entry.name == "K")
            self.names[found] = self._chosen(found, width)
            stream = self.names.get(self._stream, self._stream)
            self.names[self._stream] = self._chosen(stream, self._width)

    def gate(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """The gate times a result whose rows are not scaled: then neither are the product's."""
        self._add("Mul", inputs, node.output[0])
        self.scales[node.output[0]] = self.scales[inputs[1]]

    def product(self, node: onnx.NodeProto, given: str) -> None:
        """x W as (quantized x) (quantized W): the columns are scaled in the product, the rows where they are read."""
        shape = {entry.name: entry.i for entry in node.attribute}
        if given not in self._quantized:
            self._quantized[given] = self._quantize(given, shape["K"])  # once for gate and up
        rows, scale = self._quantized[given]
        values = dequantized(self._array(node.input[1]), self._array(node.input[2]), shape)
        result = "logits/unscaled" if node.output[0] == "logits" else node.output[0]
        columns, scales, zeros = self._rounding.rounded(values)
        inputs = [
            rows,
            self._constant(f"{result}/weight", columns),
            "one",
            self._constant(f"{result}/scales", scales),
            "middle",
            self._constant(f"{result}/zeros", zeros),
        ]
        self._add("MatMulIntegerToFloat", inputs, result, domain=EXTENSIONS)
        self.scales[result] = scale
        if result != node.output[0]:
            self._add("Mul", [result, scale], node.output[0])

    def _array(self, name: str) -> np.ndarray:
        from onnx import numpy_helper

        return numpy_helper.to_array(self._weights[name])

    def _quantize(self, given: str, width: int) -> tuple[str, str]:
        """Rows as uint8 around 128, and what they are to be multiplied by again, [batch, tokens, 1]. The scale of a row
        of nothing but zeros is 0: whatever it becomes is multiplied by that."""
        sizes = self._add("Abs", [given], f"{given}/sizes")
        largest = self._add("ReduceMax", [sizes, "end"], f"{given}/largest", keepdims=1)
        scale = self._add("Mul", [largest, "step"], f"{given}/scale")
        inputs = [given, scale, f"{self._tokens}/middles"]
        rows = self._add("QuantizeLinear", inputs, f"{given}/quantized", axis=-1, block_size=width)
        if given in self.scales:
            scale = self._add("Mul", [scale, self.scales[given]], f"{given}/column")
        return rows, scale


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
