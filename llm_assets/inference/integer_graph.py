"""A decoder's graph rewritten with products of int8: to read prompts, or to decode a few rows.

Weights get one scale a column, and each row of activations is rounded to int8 by its own largest value (the
"vector-wise" quantization of Dettmers et al. 2022, LLM.int8(), section 3.1). The products are sums of integers, so a
row's result does not depend on what it is computed with. Every node costs time, however few rows it has, so there are
as few as can be: a row's largest value, its rounding (one block of `QuantizeLinear` is a row), the product.

Prompts cost passes over the activations: the scales of a product's columns are applied in it, those of its rows where
they can no longer be put off. A few rows cost nodes, about five microseconds each, as every product drives all else out
of the caches. There the product's node applies both: given scales of three dimensions, it multiplies by them after the
product, with one thread. A product of few weights is one of floats, which needs no nodes around it.

Of a prompt's last layer, whose states nobody reads else, only keys, values and attention are computed for all tokens,
the rest for those whose logits are asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.inference.integer_columns import Columns

if TYPE_CHECKING:
    import onnx

EXTENSIONS = "com.microsoft"
SMALL = 2**16  # weights: with so few, the nodes around a product of integers take longer than one of floats does
NORM = "SimplifiedLayerNormalization"


def integer_graph(model: onnx.ModelProto, columns: Columns, few_rows: bool) -> bytes:
    """The graph that `compression.export` writes, its weights within it, with its MatMulNBits replaced. Inputs and
    outputs stay as they are. columns: of this model. few_rows: whether it is to decode, not to read prompts."""
    graph = IntegerGraph(model, columns, few_rows)
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
            graph.choose(node, inputs)
        else:
            graph.copy(node, inputs)
    used = {name for node in graph.written.node for name in node.input}
    graph.written.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
    return bytes(graph.model.SerializeToString())


class IntegerGraph:
    """Takes the old graph's nodes one by one, and writes the new ones, with their weights, into `model`.

    names: of the new graph's tensors, where the old one's differ. scales: of tensors whose rows are still to be
    multiplied, the name of what by: [batch, tokens, 1].
    """

    def __init__(self, model: onnx.ModelProto, columns: Columns, few_rows: bool) -> None:
        from onnx import ModelProto

        nodes = list(model.graph.node)
        self._columns, self._few_rows = columns, few_rows
        self.model = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
        self.written = self.model.graph
        self.written.name = model.graph.name
        self.written.input.extend(model.graph.input)
        self.written.output.extend(model.graph.output)
        self.names: dict[str, str] = {}
        self.scales: dict[str, str] = {}
        self._products = {node.input[0]: node for node in nodes if node.op_type == "MatMulNBits"}
        self._width = next(columns.width(node.input[1]) for node in nodes if node.op_type == NORM)
        self._last = [node.name for node in nodes if node.op_type == "GroupQueryAttention"][-1]
        self._quantized: dict[str, tuple[str, str]] = {}
        self._stream, self._tokens = "", "all"
        self._zeros: dict[str, str] = {}
        self._begin()

    def _begin(self) -> None:
        self._constant("one", np.array(1, np.float32))
        self._constant("step", np.array(1 / 127, np.float32))
        self._constant("middle", np.array(128, np.uint8))
        self._constant("end", np.array([-1]))
        self._constant("single", np.array([1]))

    def _middles(self) -> str:
        """The zero points of the rows that go on: one each, as many dimensions as the rows."""
        tokens = self._tokens
        if tokens not in self._zeros:
            count = self._add("Shape", ["input_ids" if tokens == "all" else "logit_rows"], f"{tokens}/count")
            column = self._add("Concat", [count, "single"], f"{tokens}/column", axis=0)
            self._zeros[tokens] = self._add("Expand", ["middle", column], f"{tokens}/middles")
        return self._zeros[tokens]

    def _constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.written.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.written.node.append(helper.make_node(kind, inputs, [output], f"{output}/{kind}", **attributes))
        return output

    def _chosen(self, value: str, width: int) -> str:
        """Of [batch, tokens, width] the tokens that logits are asked for, [chosen, width]."""
        shape = self._constant(f"{value}/shape", np.array([-1, width]))
        rows = self._add("Reshape", [value, shape], f"{value}/rows")
        return self._add("Gather", [rows, "logit_rows"], f"{value}/chosen", axis=0)

    def copy(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """As it was, with the rows of what it reads scaled."""
        from onnx import NodeProto

        copied = NodeProto()
        copied.CopyFrom(node)
        copied.input[:] = [self._scaled(name) for name in inputs]
        self.written.node.append(copied)

    def _scaled(self, name: str) -> str:
        """`name` with its rows multiplied, where that is still to be done."""
        scale = self.scales.get(name)
        return self._add("Mul", [name, scale], f"{name}/scaled") if scale else name

    def stream(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """What is added to the residual stream, or its norm."""
        if node.op_type == "Add" or not self._stream:  # the first norm is that of the embedding
            self._stream = node.output[0] if node.op_type == "Add" else node.input[0]
        self.copy(node, inputs)

    def choose(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """Of the states the tokens that logits are asked for: those that `attention` has chosen already, or, where a
        call has one token a row and all are wanted, here as it was."""
        if self._few_rows:
            self._tokens = "chosen"
            self.copy(node, inputs)
        else:
            self.names[node.output[0]] = inputs[0]

    def attention(self, node: onnx.NodeProto, inputs: list[str]) -> None:
        """After the last one, only the tokens of a prompt that are asked for go on."""
        self.copy(node, inputs)
        if node.name == self._last and not self._few_rows:
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
        """x W as (quantized x) (quantized W)."""
        shape = {entry.name: entry.i for entry in node.attribute}
        if shape["N"] * shape["K"] <= SMALL:
            weight = self._constant(f"{node.output[0]}/values", self._columns.values(node).T)
            self._add("MatMul", [self._scaled(given), weight], node.output[0])
            return
        if given not in self._quantized:
            self._quantized[given] = self._quantize(given, shape["K"])  # once for gate and up
        rows, scale = self._quantized[given]
        columns, scales, zero = self._columns.of(node)
        result = node.output[0]
        late = not self._few_rows  # the rows are scaled where they are read
        name = "logits/unscaled" if late and result == "logits" else result
        inputs = [
            rows,
            self._constant(f"{name}/weight", columns),
            "one" if late else scale,
            self._constant(f"{name}/scales", scales if late else scales.reshape(1, 1, -1)),
            "middle",
            self._constant(f"{name}/zero", zero),
        ]
        self._add("MatMulIntegerToFloat", inputs, name, domain=EXTENSIONS)
        if late:
            self.scales[name] = scale
        if name != result:
            self._add("Mul", [name, scale], result)

    def _quantize(self, given: str, width: int) -> tuple[str, str]:
        """Rows as uint8 around 128, and what they are to be multiplied by again, [batch, tokens, 1]. The scale of a row
        of nothing but zeros is 0: whatever it becomes is multiplied by that."""
        sizes = self._add("Abs", [given], f"{given}/sizes")
        largest = self._add("ReduceMax", [sizes, "end"], f"{given}/largest", keepdims=1)
        scale = self._add("Mul", [largest, "step"], f"{given}/scale")
        inputs = [given, scale, self._middles()]
        rows = self._add("QuantizeLinear", inputs, f"{given}/quantized", axis=-1, block_size=width)
        if given in self.scales:
            scale = self._add("Mul", [scale, self.scales[given]], f"{given}/column")
        return rows, scale
