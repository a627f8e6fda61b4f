"""An encoder checkpoint (BERT and its kin) as an ONNX package: class probabilities and embeddings from one graph.

transformers' `OnnxExporter` writes the graph. int8 is `MatMulNBits`, which rounds activations token by token: ONNX
Runtime's dynamic quantization takes one scale for the whole batch, so that a text's result would depend on what shares
its batch. Equal checkpoints give equal bytes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm_assets.artifacts import PACKAGE, read_json, write_json
from llm_assets.compression.export import BLOCKS, DATA, MODEL, TOKENIZER_FILES
from llm_assets.errors import UserError
from llm_assets.inference.encoder_model import KIND, EncoderModel

if TYPE_CHECKING:
    import onnx
    import torch
    from transformers import PreTrainedModel

Precision = Literal["fp32", "int8"]
FAMILIES = ("bert", "distilbert", "electra", "roberta", "xlm-roberta")
AFTER_PADDING = ("roberta", "xlm-roberta")  # their positions are counted from the padding token's id on
EXACT = 1e-4  # most by which an fp32 package may differ from its checkpoint


@dataclass(frozen=True)
class Parity:
    """A package against its checkpoint, on the same texts.

    probability: the largest difference of a probability. cosine: the smallest cosine between two embeddings of a text.
    agreement: share of texts that both give the same class. Without classes these two are 0 and 1.
    """

    probability: float
    cosine: float
    agreement: float


def export_encoder(
    checkpoint: Path, out: Path, precision: Precision, parent: str, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write `out` (created if need be): model, tokenizer and `package.json`, whose content is returned.

    checkpoint: a Hugging Face folder of an encoder, with a head for sequence classification or without. Embeddings are
    the mean of the last layer over a text's tokens, or its first token where the checkpoint says so (`1_Pooling`, as
    sentence-transformers writes it), scaled to length 1. parent: the asset that it is a version of.

    Raises UserError for other families, a regression head, or a width that int8 cannot cut into blocks.
    """
    config = read_json(checkpoint / "config.json")
    if config.get("model_type") not in FAMILIES or config.get("is_decoder"):
        raise UserError(
            f"{parent} is a {config.get('model_type')}; encoder packages are exported from {', '.join(FAMILIES)}"
        )
    model, labels = _load(checkpoint, parent)
    pooling = _pooling(checkpoint)
    graph = _graph(_with_embedding(model, pooling))
    if precision == "int8":
        _quantize(graph, parent)
    out.mkdir(parents=True, exist_ok=True)
    _save(graph, out)
    for name in TOKENIZER_FILES:
        shutil.copyfile(checkpoint / name, out / name)
    positions = model.config.max_position_embeddings
    package = {
        "format": 2,
        "kind": KIND,
        "precision": precision,
        "parent": parent,
        "context": positions - model.config.pad_token_id - 1 if config["model_type"] in AFTER_PADDING else positions,
        "vocab": model.config.vocab_size,
        "hidden": model.config.hidden_size,
        "pad": model.config.pad_token_id,
        "labels": labels,
        "activation": "sigmoid" if config.get("problem_type") == "multi_label_classification" else "softmax",
        "pooling": pooling,
        **(extra or {}),
    }
    write_json(package, out / PACKAGE)
    if precision == "fp32":
        _require_exact(checkpoint, out, parent)
    return package


def parity(checkpoint: Path, package: Path, texts: Sequence[Sequence[int]], threads: int = 1) -> Parity:
    """Measure a package against its checkpoint on texts given as token ids."""
    import numpy as np
    import torch

    model, labels = _load(checkpoint, "the checkpoint")
    whole = _with_embedding(model, _pooling(checkpoint))
    encoder = EncoderModel(package, threads)
    probability, cosine, same = 0.0, 1.0, 0
    for ids in texts:
        got = encoder.encode([ids])
        with torch.inference_mode():
            wanted = whole(torch.tensor([list(ids)]), torch.ones((1, len(ids)), dtype=torch.long))
        cosine = min(cosine, float((got.embeddings[0] * wanted["sentence_embedding"].numpy()[0]).sum()))
        if got.probabilities is not None:
            multi = encoder.package["activation"] == "sigmoid"
            chances = wanted["logits"].sigmoid() if multi else wanted["logits"].softmax(dim=-1)
            probability = max(probability, float(np.abs(got.probabilities - chances.numpy()).max()))
            same += int(got.probabilities.argmax() == int(chances.argmax()))
    return Parity(probability, cosine, same / len(texts) if labels else 1.0)


def _load(checkpoint: Path, parent: str) -> tuple[PreTrainedModel, list[str]]:
    """The model for inference, and its classes in order."""
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    from llm_assets.inference.quiet import quiet

    config = AutoConfig.from_pretrained(checkpoint)
    classifies = any(name.endswith("ForSequenceClassification") for name in config.architectures or ())
    if classifies and (config.num_labels < 2 or config.problem_type == "regression"):
        raise UserError(f"{parent} has a head of regression; a package classifies into two or more classes, or embeds")
    kind = AutoModelForSequenceClassification if classifies else AutoModel
    with quiet():
        model = kind.from_pretrained(checkpoint).float().eval()
    return model, [config.id2label[at] for at in range(config.num_labels)] if classifies else []


def _pooling(checkpoint: Path) -> Literal["mean", "cls"]:
    said = checkpoint / "1_Pooling" / "config.json"
    return "cls" if said.is_file() and read_json(said).get("pooling_mode_cls_token") else "mean"


def _with_embedding(model: PreTrainedModel, pooling: Literal["mean", "cls"]) -> PreTrainedModel:
    """A model that gives "sentence_embedding" [texts, hidden] and, where it classifies, "logits" [texts, classes]."""
    import torch
    from transformers import PreTrainedModel

    class WithEmbedding(PreTrainedModel):  # type: ignore[misc]
        _supports_sdpa = True

        def __init__(self) -> None:
            super().__init__(model.config)
            self.model = model

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> dict[str, torch.Tensor]:
            found = self.model(input_ids=input_ids, attention_mask=attention_mask, output_hidden_states=True)
            last = found.hidden_states[-1]
            kept = attention_mask.unsqueeze(-1).to(last.dtype)
            pooled = last[:, 0] if pooling == "cls" else (last * kept).sum(dim=1) / kept.sum(dim=1)
            outputs = {"sentence_embedding": torch.nn.functional.normalize(pooled, dim=-1)}
            return outputs | {"logits": found.logits} if "logits" in found else outputs

    return WithEmbedding().eval()


def _graph(model: PreTrainedModel) -> onnx.ModelProto:
    """The graph of any number of texts of any length, without a trace of where it was made."""
    import onnx_ir
    import torch
    from transformers.exporters import OnnxConfig, OnnxExporter

    from llm_assets.inference.quiet import quiet

    ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 8, 9]])  # a shape to trace; sizes are dynamic
    with _silence(), quiet():
        exported = OnnxExporter().export(
            model,
            {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
            config=OnnxConfig(dynamic=True, ort_fusions="cpu"),
        )
    graph = onnx_ir.to_proto(exported.program)
    graph.producer_name = graph.producer_version = graph.doc_string = ""
    del graph.metadata_props[:], graph.graph.metadata_props[:], graph.graph.value_info[:]
    values = (*graph.graph.input, *graph.graph.output, *graph.graph.initializer)
    for part in (*graph.graph.node, *values, *graph.functions):
        part.doc_string = ""
        del part.metadata_props[:]
    return graph


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """The exporters print, log and warn that they are experimental; what they have made is compared instead."""
    disabled = logging.root.manager.disable
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(disabled)


def _quantize(graph: onnx.ModelProto, parent: str) -> None:
    """Weights of 8 bits, and a scale for each block of them; the table of token embeddings too."""
    from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, MatMulNBitsQuantizer

    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    products = [node for node in graph.graph.node if node.op_type == "MatMul" and node.input[1] in weights]
    widths = [weights[node.input[1]].dims[0] for node in products]
    block = next((size for size in BLOCKS["int8"] if all(width % size == 0 for width in widths)), None)
    if block is None:
        raise UserError(f"{parent}: int8 needs widths divisible by {BLOCKS['int8'][-1]}, not {sorted(set(widths))}")
    _quantize_embedding(graph, block)
    # accuracy_level 4: activations are rounded to 8 bits too, token by token.
    config = DefaultWeightOnlyQuantConfig(block_size=block, is_symmetric=True, accuracy_level=4, bits=8)
    with _silence():
        quantizer = MatMulNBitsQuantizer(graph, algo_config=config)
        quantizer.process()
    graph.CopyFrom(quantizer.model.model)


def _quantize_embedding(graph: onnx.ModelProto, block: int) -> None:
    """The look-up of token embeddings in a table of uint8 [vocab, hidden], zero point 128, a scale for each block."""
    import numpy as np
    from onnx import helper, numpy_helper

    gather = next(node for node in graph.graph.node if node.op_type == "Gather" and node.input[1] == "input_ids")
    tensor = next(tensor for tensor in graph.graph.initializer if tensor.name == gather.input[0])
    table = numpy_helper.to_array(tensor)
    blocks = table.reshape(len(table), -1, block)
    scales = np.maximum(np.abs(blocks).max(axis=2), 1e-12) / 127
    rounded = (np.rint(blocks / scales[:, :, None]) + 128).astype(np.uint8).reshape(table.shape)
    graph.graph.initializer.remove(tensor)
    names = f"{tensor.name}_Q8", f"{tensor.name}_scales"
    for name, values in zip(names, (rounded, scales.astype(np.float32)), strict=True):
        graph.graph.initializer.append(numpy_helper.from_array(values, name))
    look_up = helper.make_node(
        "GatherBlockQuantized",
        [names[0], "input_ids", names[1]],
        [gather.output[0]],
        name="embed/GatherBlockQuantized",
        domain="com.microsoft",
        bits=8,
        block_size=block,
        gather_axis=0,
        quantize_axis=1,
    )
    gather.CopyFrom(look_up)


def _save(graph: onnx.ModelProto, out: Path) -> None:
    import onnx

    for name in (MODEL, DATA):
        (out / name).unlink(missing_ok=True)
    onnx.save(graph, str(out / MODEL), save_as_external_data=True, all_tensors_to_one_file=True, location=DATA)


def _require_exact(checkpoint: Path, package: Path, parent: str) -> None:
    """An export that computes something else is a fault, whoever's it is: no package is better than a wrong one."""
    import numpy as np

    encoder = EncoderModel(package, 1)
    numbers = np.random.default_rng(0)
    lengths = (1, 7, 8, 30, encoder.context)
    texts = [numbers.integers(encoder.vocab, size=min(length, encoder.context)).tolist() for length in lengths]
    found = parity(checkpoint, package, texts)
    if found.probability > EXACT or found.cosine < 1 - EXACT:
        raise RuntimeError(f"the ONNX export of {parent} differs from it: {found}")
