"""A Llama checkpoint as a GGUF file: `python gguf_file.py CHECKPOINT OUT Q8_0|Q4_0`, in an environment that has `gguf`.

What llama.cpp's own converter and `llama-quantize` do with such a checkpoint, matrix by matrix; the embedding, which is
also the LM head, stays Q8_0 in a Q4_0 file (llama-quantize keeps it at 6 bits or more).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
FILE_TYPES = {"Q8_0": 7, "Q4_0": 2}
NORMAL, CONTROL = 1, 3  # token types


def write(checkpoint: Path, out: Path, kind: str) -> None:
    import gguf
    import numpy as np
    from safetensors.numpy import load_file

    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // heads)
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(FILE_TYPES[kind])
    add_tokenizer(writer, checkpoint, config)
    for name, values in load_file(checkpoint / "model.safetensors").items():
        values = values.astype(np.float32)
        target = tensor_name(name)
        if ".q_proj." in name or ".k_proj." in name:
            values = interleave(values, heads if ".q_proj." in name else kv_heads)
        if values.ndim == 1:
            writer.add_tensor(target, values)
            continue
        wanted = gguf.GGMLQuantizationType["Q8_0" if target == "token_embd.weight" else kind]
        writer.add_tensor(target, gguf.quants.quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: object, checkpoint: Path, config: dict) -> None:
    described = json.loads((checkpoint / "tokenizer.json").read_text(encoding="utf-8"))
    tokens = [f"<unused{at}>" for at in range(config["vocab_size"])]
    kinds = [NORMAL] * len(tokens)
    for text, at in described["model"]["vocab"].items():
        tokens[at] = text
    for added in described["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], CONTROL
    writer.add_tokenizer_model("gpt2")  # type: ignore[attr-defined]
    writer.add_tokenizer_pre("gpt-2")  # type: ignore[attr-defined]
    writer.add_token_list(tokens)  # type: ignore[attr-defined]
    writer.add_token_types(kinds)  # type: ignore[attr-defined]
    merges = described["model"]["merges"]
    writer.add_token_merges([" ".join(pair) for pair in merges])  # type: ignore[attr-defined]
    writer.add_eos_token_id(config["eos_token_id"])  # type: ignore[attr-defined]
    writer.add_bos_token_id(config["eos_token_id"])  # type: ignore[attr-defined]
    writer.add_pad_token_id(config["pad_token_id"])  # type: ignore[attr-defined]
    writer.add_add_bos_token(False)  # type: ignore[attr-defined]


def tensor_name(name: str) -> str:
    if name in ("model.embed_tokens.weight", "model.norm.weight"):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}[name]
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}.{NAMES[rest.removesuffix('.weight')]}.weight"


def interleave(values, heads: int):
    """llama.cpp rotates neighbouring pairs, transformers the halves of a head: reorder a projection's rows."""
    return values.reshape(heads, 2, values.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(values.shape)


if __name__ == "__main__":
    write(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
