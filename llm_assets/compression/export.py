"""A Llama checkpoint as an ONNX package: decode with a KV cache, fp32, int8 or int4, files that need no torch.

onnxruntime-genai's model builder writes the graph (GroupQueryAttention, MatMulNBits); `graph_edits.py` makes it ours.
Equal checkpoints give equal bytes.
"""

from __future__ import annotations

import contextlib
import io
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from llm_assets.artifacts import PACKAGE, read_json, write_json
from llm_assets.compression.graph_edits import edited
from llm_assets.errors import UserError

if TYPE_CHECKING:
    import onnx

Precision = Literal["int8", "int4", "fp32"]
MODEL, DATA = "model.onnx", "model.onnx.data"
BLOCKS = {"int8": (256, 128, 64, 32), "int4": (128, 64, 32)}  # weights that share a scale: the first that fits all
ROTARY = (
    "default",
    "dynamic",
    "llama3",
)  # of which the model builder makes the right tables; others it takes for default
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def export_package(
    checkpoint: Path, out: Path, precision: Precision, parent: str, extra: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write `out` (created if need be): model, tokenizer and `package.json`, whose content is returned.

    parent: the asset that the checkpoint is a version of. extra: more entries of `package.json` (labels,
    tasks …). Raises UserError for an architecture other than Llama's, scaled positions that are not in `ROTARY`, or
    untied embeddings with int8.
    """
    config = read_json(checkpoint / "config.json")
    if config.get("architectures") != ["LlamaForCausalLM"]:
        raise UserError(f"{parent} is a {config.get('architectures')}; packages are exported from LlamaForCausalLM")
    if precision == "int8" and not config.get("tie_word_embeddings"):
        raise UserError(f"{parent} has untied embeddings; export it with precision fp32, or tie them")
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    positions = scaling.get("rope_type") or scaling.get("type") or "default"
    if positions not in ROTARY:
        raise UserError(f"{parent} has positions of type {positions!r}; packages are exported with {', '.join(ROTARY)}")
    head_dim = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    widths = (config["hidden_size"], config["intermediate_size"], head_dim * config["num_attention_heads"])
    sizes = BLOCKS.get(precision, (1,))
    block = next((size for size in sizes if all(width % size == 0 for width in widths)), sizes[-1])
    if precision != "fp32" and config["hidden_size"] % block:
        raise UserError(f"{parent}: {precision} needs a hidden size divisible by {block}, not {config['hidden_size']}")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="llm-assets-export-") as scratch:
        folder = Path(scratch)
        _build(checkpoint, folder, precision, block)
        _save(edited(folder / MODEL, precision, config["hidden_size"]), out)
    for name in TOKENIZER_FILES:
        shutil.copyfile(checkpoint / name, out / name)
    package = {
        "format": 3,
        "precision": precision,
        "parent": parent,
        "context": config["max_position_embeddings"],
        "layers": config["num_hidden_layers"],
        "kv_heads": config["num_key_value_heads"],
        "head_dim": head_dim,
        "vocab": config["vocab_size"],
        "eos": config["eos_token_id"],
        "pad": config["pad_token_id"],
        **(extra or {}),
    }
    write_json(package, out / PACKAGE)
    return package


def model_bytes(folder: Path) -> int:
    """Bytes of the weights and the graph of a checkpoint or package; tokenizer and metadata are not
    counted.
    """
    files = [*folder.glob("*.safetensors"), *folder.glob(MODEL + "*")]
    return sum(path.stat().st_size for path in files)


def _build(checkpoint: Path, folder: Path, precision: Precision, block: int) -> None:
    options = [f"block_size={block}"] if precision != "fp32" else []
    cache = str(folder / "cache")
    with _quiet() as output:
        from onnxruntime_genai.models import builder

        try:
            parsed = builder.parse_extra_options("", str(checkpoint), str(folder), precision, "cpu", cache, options)
            builder.create_model("", str(checkpoint), str(folder), precision, "cpu", cache, **parsed)
        except Exception as error:
            raise RuntimeError(f"the ONNX export failed: {error}\n{output.getvalue()[-2000:]}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Catch the builder's prints and bars, and undo the root log handler that onnxruntime's quantizer
    installs.
    """
    output, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quantizer = logging.getLogger("onnxruntime.quantization.matmul_nbits_quantizer")
    try:
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            quantizer.setLevel(logging.CRITICAL)
            yield output
    finally:
        root.handlers[:], root.level = handlers, level


def _save(model: onnx.ModelProto, out: Path) -> None:
    import onnx

    for name in (MODEL, DATA):
        (out / name).unlink(missing_ok=True)
    onnx.save(model, str(out / MODEL), save_as_external_data=True, all_tensors_to_one_file=True, location=DATA)
