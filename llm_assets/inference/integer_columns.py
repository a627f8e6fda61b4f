"""A package's weights laid out anew for products of int8: one scale a column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class Rounding:
    """How a column of weights is rounded: to -largest … largest, times its scale; as int8, or as uint8 around 128."""

    largest: int
    signed: bool

    def rounded(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of weights float32 [N, K]: integers [K, N], scales float32 [N], and the zero point, a scalar."""
        scales = np.abs(values).max(axis=1) / self.largest
        kind, zero = (np.int8, 0) if self.signed else (np.uint8, 128)
        columns = np.round(values / np.where(scales > 0, scales, 1)[:, None]).T + zero
        return np.ascontiguousarray(columns.astype(kind)), scales.astype(np.float32), np.array(zero, kind)


class Columns:
    """The weights of a graph's MatMulNBits nodes, rounded anew: once, however many graphs are written with them."""

    def __init__(self, model: onnx.ModelProto, rounding: Rounding) -> None:
        self._tensors = {tensor.name: tensor for tensor in model.graph.initializer}
        casts = [node for node in model.graph.node if node.op_type == "Cast"]
        self._tensors |= {node.output[0]: self._tensors[node.input[0]] for node in casts}
        self._rounding = rounding
        self._found: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}

    def of(self, node: onnx.NodeProto) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As `Rounding.rounded` of the node's weights."""
        table = node.input[1]
        if table not in self._found:
            self._found[table] = self._rounding.rounded(self.values(node))
        return self._found[table]

    def values(self, node: onnx.NodeProto) -> np.ndarray:
        """The node's weights, float32 [N, K]."""
        from onnx import numpy_helper

        table, scales = (numpy_helper.to_array(self._tensors[name]) for name in node.input[1:3])
        return dequantized(table, scales, {entry.name: entry.i for entry in node.attribute})

    def width(self, name: str) -> int:
        """How many values a tensor of one dimension has, such as a norm's weights, also where the graph casts it."""
        return int(self._tensors[name].dims[0])


def dequantized(table: np.ndarray, scales: np.ndarray, shape: dict[str, int]) -> np.ndarray:
    """The weights that a MatMulNBits multiplies with, float32 [N, K].

    table: uint8 [N, blocks, bytes of a block]; scales: [N, blocks]. The zero point is the middle of the range.
    """
    blocks = in_bytes(table, shape["bits"]).astype(np.float32) - 128
    values = blocks * scales.reshape(shape["N"], -1, 1).astype(np.float32)
    return values.reshape(shape["N"], -1)[:, : shape["K"]]


def in_bytes(table: np.ndarray, bits: int) -> np.ndarray:
    """A MatMulNBits' weights, uint8 [N, blocks, bytes of a block], with a byte for each, around 128."""
    if bits == 8:
        return table
    halves = np.stack([table & 15, table >> 4], axis=-1)  # the low half is the first
    return (halves + (128 - 8)).reshape(*table.shape[:2], -1)
