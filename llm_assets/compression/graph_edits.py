"""The edits that make the graph of onnxruntime-genai's model builder ours:

- the LM head sees only the positions asked for (a prefill of 64 prompts would else give gigabytes of logits);
- rows' lengths are inputs, not counted from a mask;
- rotary tables are computed, not stored, and scale the attention's scores too;
- attention takes onnxruntime's plain kernel;
- x * sigmoid(x) is one node, and adding to the residual stream and normalizing it are two;
- the int8 model reads its embedding from the LM head's int8 table (the builder keeps a second one in fp32,
  which is half of a small model);
- scales are stored as fp16.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

SINK = 11  # which of GroupQueryAttention's inputs


def edited(path: Path, precision: str, width: int) -> onnx.ModelProto:
    """The builder's graph of a Llama `width` wide, with every edit."""
    import onnx

    model = onnx.load(str(path))
    model.producer_version = ""
    _direct_lengths(model)
    _chosen_positions(model, width)
    _compute_rotary(model, _take_scale(model))
    _plain_attention(model)
    _fuse_silu(model)
    _part_norms(model)
    if precision == "int8":
        _share_embedding(model)  # the builder shares an int4 one itself
    if precision != "fp32":
        _halve_scales(model)
    return model


def _node(model: onnx.ModelProto, prefix: str) -> tuple[int, onnx.NodeProto]:
    found = [(index, node) for index, node in enumerate(model.graph.node) if node.name.startswith(prefix)]
    if len(found) != 1:
        raise RuntimeError(f"the exported graph has {len(found)} nodes {prefix}*; the model builder has changed")
    return found[0]


def _direct_lengths(model: onnx.ModelProto) -> None:
    """Take each row's length as an input of its own, instead of counting an attention mask in every step.

    seqlens_k: int32 [batch], tokens of the row after this call, less 1. total_sequence_length: int32 scalar, the
    longest row's tokens after this call.
    """
    from onnx import TensorProto, helper

    for node in _attentions(model):
        node.input[5], node.input[6] = "seqlens_k", "total_sequence_length"
    mask = next(value for value in model.graph.input if value.name == "attention_mask")
    model.graph.input.remove(mask)
    model.graph.input.extend(
        [
            helper.make_tensor_value_info("seqlens_k", TensorProto.INT32, ["batch_size"]),
            helper.make_tensor_value_info("total_sequence_length", TensorProto.INT32, []),
        ]
    )
    for node in [node for node in model.graph.node if "attn_mask" in node.name]:
        model.graph.node.remove(node)


def _chosen_positions(model: onnx.ModelProto, width: int) -> None:
    """Logits [positions, vocab] of the positions named by `logit_rows`, int64 [positions], counted through the rows
    of the call: a prompt is read without a vocabulary of numbers for each of its tokens."""
    from onnx import TensorProto, helper

    position, head = _node(model, "/lm_head/MatMul")
    model.graph.initializer.append(helper.make_tensor("chosen/shape", TensorProto.INT64, [2], [-1, width]))
    nodes = [
        helper.make_node("Reshape", [head.input[0], "chosen/shape"], ["chosen/flat"], name="chosen/Reshape"),
        helper.make_node("Gather", ["chosen/flat", "logit_rows"], ["chosen/hidden"], name="chosen/Gather", axis=0),
    ]
    head.input[0] = "chosen/hidden"
    for offset, node in enumerate(nodes):
        model.graph.node.insert(position + offset, node)
    model.graph.input.append(helper.make_tensor_value_info("logit_rows", TensorProto.INT64, ["positions"]))
    logits = next(value for value in model.graph.output if value.name == "logits")
    vocab = logits.type.tensor_type.shape.dim[2].dim_value
    logits.CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["positions", vocab]))
    del model.graph.value_info[:]


def _share_embedding(model: onnx.ModelProto) -> None:
    """Replace the fp32 embedding by a look-up in the LM head's table: uint8 [vocab, blocks, block], zero
    point 128.
    """
    from onnx import TensorProto, helper

    _, head = _node(model, "/lm_head/MatMul")
    position, gather = _node(model, "/model/embed_tokens/Gather")
    table, scales = head.input[1], head.input[2]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    width = next(attribute.i for attribute in head.attribute if attribute.name == "K")
    for name, values in (("embed/axis", [2]), ("embed/shape", [0, 0, width])):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
    nodes = [
        helper.make_node("Unsqueeze", [scales, "embed/axis"], ["embed/scales"], name="embed/Unsqueeze"),
        helper.make_node(
            "GatherBlockQuantized",
            [table, "input_ids", "embed/scales"],
            ["embed/blocks"],
            name="embed/GatherBlockQuantized",
            domain="com.microsoft",
            bits=8,
            block_size=weights[table].dims[2],
            gather_axis=0,
            quantize_axis=2,
        ),
        helper.make_node("Reshape", ["embed/blocks", "embed/shape"], [gather.output[0]], name="embed/Reshape"),
    ]
    model.graph.initializer.remove(weights[gather.input[0]])
    model.graph.node.remove(gather)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(position + offset, node)


def _take_scale(model: onnx.ModelProto) -> float:
    """What attention multiplies its scores by (1 / sqrt(head_dim)); it multiplies by 1 from now on. With any other
    factor onnxruntime copies all keys in every step, where one query could be multiplied with them as they lie."""
    scales = [entry for node in _attentions(model) for entry in node.attribute if entry.name == "scale"]
    found = scales[0].f
    for entry in scales:
        entry.f = 1.0
    return found


def _attentions(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    return [node for node in model.graph.node if node.op_type == "GroupQueryAttention"]


def _plain_attention(model: onnx.ModelProto) -> None:
    """Add a sink that takes no weight, exp(lowest) = 0, which turns off the tiled kernel. For one query the plain one
    takes a fifth less time (with `_take_scale`, which the tiled one does not profit from), for 128 to 512 a tenth to
    two fifths less, but for more it takes more: `OnnxModel.read_prompts` bounds what is read at once."""
    import numpy as np
    from onnx import helper, numpy_helper

    for node in _attentions(model):
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        del node.input[SINK:]
        node.input.extend([""] * (SINK - len(node.input)) + ["attention/sink"])
    sink = np.full(attributes["num_heads"], np.finfo(np.float32).min)
    model.graph.initializer.append(numpy_helper.from_array(sink, "attention/sink"))


def _compute_rotary(model: onnx.ModelProto, scale: float) -> None:
    """Compute the tables of rotary cosines and sines, instead of storing what is 1 of 20 bytes of a small model, times
    the root of `scale`: queries and keys are both multiplied by them, so their products are scaled.

    onnxruntime does it once, when it loads the model. The angle of position p and pair i is p / theta^(i /
    pairs).
    """
    import numpy as np
    from onnx import helper, numpy_helper

    tables = {t.name: t for t in model.graph.initializer if t.name in ("cos_cache", "sin_cache")}
    cosines, sines = (numpy_helper.to_array(tables[name]) for name in ("cos_cache", "sin_cache"))
    rates = np.arctan2(sines[1].astype(np.float64), cosines[1].astype(np.float64))  # the angles of position 1
    angles = np.arange(len(cosines))[:, None] * rates
    off = 1e-4 + len(cosines) * 2.0**-23  # the tables' angles are rounded to fp32, the more the larger they are
    if np.abs(np.cos(angles) - cosines).max() > off or np.abs(np.sin(angles) - sines).max() > off:
        raise RuntimeError("the exported rotary tables are no cosines and sines; the model builder has changed")
    for name, table in tables.items():
        model.graph.initializer.remove(table)
        kind = "Cos" if name == "cos_cache" else "Sin"
        unit = f"rotary/{kind}"
        model.graph.node.insert(0, helper.make_node("Mul", [unit, "rotary/factor"], [name], name=f"{unit}/Mul"))
        model.graph.node.insert(0, helper.make_node(kind, ["rotary/angles"], [unit], name=unit))
    model.graph.node.insert(
        0, helper.make_node("Mul", ["rotary/positions", "rotary/rates"], ["rotary/angles"], name="rotary/Mul")
    )
    positions = np.arange(len(cosines), dtype=np.float32)[:, None]
    factor = np.array(np.sqrt(scale), np.float32)
    for name, values in (("positions", positions), ("rates", rates.astype(np.float32)[None]), ("factor", factor)):
        model.graph.initializer.append(numpy_helper.from_array(values, f"rotary/{name}"))


def _fuse_silu(model: onnx.ModelProto) -> None:
    """Compute x * sigmoid(x) in one node: a small model spends much of a step on starting nodes."""
    from onnx import helper

    nodes = {node.name: node for node in model.graph.node}
    for sigmoid in [node for node in nodes.values() if node.op_type == "Sigmoid"]:
        product = nodes[sigmoid.name.replace("Sigmoid", "Mul")]
        silu = helper.make_node(
            "QuickGelu", [sigmoid.input[0]], [product.output[0]], f"{sigmoid.name}/QuickGelu",
            domain="com.microsoft", alpha=1.0,
        )  # fmt: skip
        at = list(model.graph.node).index(sigmoid)
        for node in (sigmoid, product):
            model.graph.node.remove(node)
        model.graph.node.insert(at, silu)


def _part_norms(model: onnx.ModelProto) -> None:
    """Add to the residual stream in one node and normalize it in the next: onnxruntime's joined one takes longer than
    both."""
    from onnx import helper

    for node in [node for node in model.graph.node if node.op_type == "SkipSimplifiedLayerNormalization"]:
        stream, added, weight = node.input
        total = node.output[3] if len(node.output) > 3 else f"{node.name}/sum"
        attributes = {entry.name: helper.get_attribute_value(entry) for entry in node.attribute}
        parts = (
            helper.make_node("Add", [stream, added], [total], f"{node.name}/Add"),
            helper.make_node(
                "SimplifiedLayerNormalization", [total, weight], [node.output[0]], f"{node.name}/Norm",
                axis=-1, stash_type=1, **attributes,
            ),
        )  # fmt: skip
        at = list(model.graph.node).index(node)
        model.graph.node.remove(node)
        for offset, part in enumerate(parts):
            model.graph.node.insert(at + offset, part)


def _halve_scales(model: onnx.ModelProto) -> None:
    """Store the scales of quantized weights as fp16; onnxruntime widens them once, when it loads the model."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    for tensor in [t for t in model.graph.initializer if t.name.endswith(".weight_scales")]:
        values = numpy_helper.to_array(tensor)
        half = f"{tensor.name}_fp16"
        model.graph.initializer.remove(tensor)
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), half))
        model.graph.node.insert(
            0, helper.make_node("Cast", [half], [tensor.name], name=f"{tensor.name}/Cast", to=TensorProto.FLOAT)
        )
