"""A quantized package's graphs with integer products of whole rows: to read prompts, and on most CPUs to decode int8,
and int4 of small models.

A package keeps its weights in blocks, each with a scale. Where a call waits for arithmetic, blocks cost more than the
products: reading prompts takes 1.6 to 2 times as long with them, decoding 4 and 16 rows of int8 three and six tenths
more (AVX2; one row takes as long). So weights are laid out anew when a package is loaded, as int8 with one scale a
column, and each row of activations is rounded to int8 by its own largest value (the "vector-wise" quantization of
Dettmers et al. 2022, LLM.int8(), section 3.1). The products are sums of integers, so a row's result does not depend on
what it shares a call with; small ones are of floats, which are added in one order whatever the rows. Decoding a few
rows at a time waits for memory and nodes, not for arithmetic: it has a graph of its own, of such products or, where
blocks are read faster (`decodes`), the package's.
"""

from __future__ import annotations

import platform
from collections.abc import Set
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from llm_assets.inference.integer_columns import Columns, Rounding
from llm_assets.inference.integer_graph import integer_graph
from llm_assets.inference.session import not_loaded

if TYPE_CHECKING:
    import onnx

SMALLEST = 2**23  # bytes of weights: fewer lie in the caches
LARGEST = 2**30  # beyond it a second copy, and ONNX's limit on one message, would be a burden
DOT_PRODUCTS = {"avx512_vnni", "avx_vnni", "asimddp"}  # of CPUs that multiply int8 and add to int32 in one instruction
AMX = "amx_int8"


class IntegerGraphs(NamedTuple):
    """few_rows: the graph that decodes; None where the package's own does."""

    prompts: bytes
    few_rows: bytes | None


def rounding(precision: str, flags: Set[str]) -> Rounding | None:
    """How weights are rounded for a CPU with these flags; None where the package's own graph is as fast.

    AVX2 alone adds two products in 16 bits, which saturate. Weights of 7 bits cannot reach that, and int4 loses little
    by it. int8 would lose more: its weights are unsigned there and multiplied in 32 bits, a quarter longer for prompts.
    """
    if not DOT_PRODUCTS.isdisjoint(flags):
        return Rounding(127, signed=True)
    if "avx2" in flags:
        return Rounding(127, signed=False) if precision == "int8" else Rounding(63, signed=True)
    return None


def decodes(precision: str, size: int, flags: Set[str]) -> bool:
    """Whether whole rows also decode, and not the package's own graph. size: bytes of the package's weights.

    AMX multiplies tiles of 16 rows, however few there are, and waits longer for weights: one row with int8 takes a
    quarter more time there than with blocks. int4 waits for memory, and int8 is twice as much of it; but weights that
    lie in the caches are multiplied sooner as int8."""
    return AMX not in flags and (precision == "int8" or size < SMALLEST)


def cpu_flags() -> Set[str]:
    """What this machine's CPU can do, by the kernel's names."""
    if platform.system() != "Linux":
        return {"asimddp"} if platform.machine() == "arm64" else set()
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    return set(next((line for line in info.splitlines() if line.lower().startswith(("flags", "features"))), "").split())


def integer_products(path: Path, precision: str, flags: Set[str]) -> IntegerGraphs | None:
    """The package's graphs with products of int8; None where this CPU has none, or the package is not quantized, too
    small (with AMX) or too large for copies. Raises UserError when it cannot be read."""
    import onnx

    anew = rounding(precision, flags)
    if not anew:
        return None
    smallest = SMALLEST if AMX in flags else 0
    try:
        model = onnx.load(str(path), load_external_data=False)
        weights = {tensor.name: tensor for tensor in model.graph.initializer}
        products = [node for node in model.graph.node if node.op_type == "MatMulNBits"]
        size = sum(np.prod(weights[node.input[1]].dims) for node in products)
        if not products or not smallest <= size <= LARGEST:
            return None
        _read_external(model, path.parent)
        columns = Columns(model, anew)
        few_rows = integer_graph(model, columns, few_rows=True) if decodes(precision, size, flags) else None
        return IntegerGraphs(integer_graph(model, columns, few_rows=False), few_rows)
    except Exception as error:
        raise not_loaded(path, error) from error


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
