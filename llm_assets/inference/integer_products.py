"""A quantized package's graph with integer products of whole rows: it reads prompts, and decodes with int8.

A package keeps its weights in blocks, each with a scale. Where a call waits for arithmetic, blocks cost more than the
products: reading prompts takes 1.6 to 2 times as long with them, decoding int8 an eighth to a third more. So weights
are laid out anew when a package is loaded, as int8 with one scale a column, and each row of activations is rounded to
int8 by its own largest value (the "vector-wise" quantization of Dettmers et al. 2022, LLM.int8(), section 3.1). The
products are sums of integers, so a row's result does not depend on what it shares a call with. Decoding with int4 few
rows at a time waits for memory, which the blocks of half the size save: there two graphs are kept.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from llm_assets.errors import UserError

if TYPE_CHECKING:
    import onnx

SMALLEST = 2**23  # bytes of weights: below, the nodes around the products take longer than the products save
LARGEST = 2**30  # beyond it a second copy, and ONNX's limit on one message, would be a burden
CPU_FLAGS = {"avx512_vnni", "avx_vnni", "asimddp"}


def has_integer_products() -> bool:
    """Whether this CPU multiplies int8 and adds to int32 in one instruction. Without it ONNX Runtime's products of
    int8 are slower, and on x86 they saturate."""
    if platform.system() != "Linux":
        return platform.machine() == "arm64"
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    flags = next((line for line in info.splitlines() if line.lower().startswith(("flags", "features"))), "")
    return not CPU_FLAGS.isdisjoint(flags.split())


def integer_products(path: Path) -> bytes | None:
    """The package's graph with products of int8; None where it is not quantized, too small to gain by it, or too large
    for a copy. Raises UserError when it cannot be read."""
    import onnx

    from llm_assets.inference.integer_graph import integer_graph

    try:
        model = onnx.load(str(path), load_external_data=False)
        weights = {tensor.name: tensor for tensor in model.graph.initializer}
        products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
        size = sum(np.prod(weights[node.input[1]].dims) for node in products)
        if not products or not SMALLEST <= size <= LARGEST:
            return None
        _read_external(model, path.parent)
        return integer_graph(model).SerializeToString()
    except Exception as error:
        raise UserError(f"{path} cannot be loaded: {error}. Export the package again.") from error


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
