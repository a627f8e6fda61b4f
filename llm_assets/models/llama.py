"""Llama checkpoints: built, packed with text, scored and saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.inference.quiet import quiet
from llm_assets.models.config import ShapeConfig

if TYPE_CHECKING:
    import numpy as np
    import torch
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast


def build_llama(shape: ShapeConfig, tokenizer: PreTrainedTokenizerFast, context: int) -> LlamaForCausalLM:
    """A fresh model with tied embeddings, drawn from torch's generator (see `torch_setup`)."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=shape.hidden,
            intermediate_size=shape.feed_forward,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.kv_heads,
            max_position_embeddings=context,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def load_model(folder: Path) -> Any:
    """The causal LM of a checkpoint in fp32, in evaluation mode."""
    from transformers import AutoModelForCausalLM

    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder, dtype="float32").eval()


def save_checkpoint(model: Any, tokenizer: PreTrainedTokenizerFast, out: Path) -> None:
    """A Hugging Face folder whose bytes depend on weights, configuration and tokenizer alone."""
    with quiet():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)


def parameter_counts(model: Any) -> dict[str, int]:
    """`parameters` in all, and `hidden_parameters` without the embedding (which does no matrix product on input)."""
    total = sum(p.numel() for p in model.parameters())
    return {"parameters": total, "hidden_parameters": total - model.get_input_embeddings().weight.numel()}


def pack_texts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> np.ndarray:
    """All texts one after another, each closed by <|end|>; int32 [tokens]."""
    import numpy as np

    eos = int(tokenizer.eos_token_id)
    encoded = tokenizer.backend_tokenizer.encode_batch(list(texts))
    return np.array([token for item in encoded for token in (*item.ids, eos)], dtype=np.int32)


class PackedBatches:
    """Windows of a token stream in an order drawn by `seed`, `steps` batches, going round when the stream is short.

    A batch: `ids` [rows, length], `picked` (flat positions that enter the loss) and their `wanted` next tokens.
    """

    def __init__(
        self, stream: np.ndarray, steps: int, batch_size: int, length: int, loss_share: float, seed: int
    ) -> None:
        import numpy as np

        self.stream, self.steps, self.batch_size, self.length = stream, steps, batch_size, length
        self.picks = max(1, round(loss_share * batch_size * length))
        self.seed = seed
        windows = max(1, (len(stream) - 1) // length)
        rounds = -(-steps * batch_size // windows)
        random = np.random.default_rng(seed)
        self.order = np.concatenate([random.permutation(windows) for _ in range(rounds)])

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> Mapping[str, torch.Tensor]:
        import numpy as np
        import torch

        if not 0 <= index < self.steps:
            raise IndexError(index)
        starts = self.order[index * self.batch_size : (index + 1) * self.batch_size] * self.length
        offsets = starts[:, None] + np.arange(self.length + 1)
        rows = torch.from_numpy(self.stream[offsets % len(self.stream)].astype(np.int64))
        size = self.batch_size * self.length
        picked = np.random.default_rng([self.seed, index]).permutation(size)[: self.picks]
        picked = torch.from_numpy(np.sort(picked))
        return {"ids": rows[:, :-1], "picked": picked, "wanted": rows[:, 1:].reshape(-1)[picked]}


def picked_loss(model: Any, batch: Mapping[str, torch.Tensor], label_smoothing: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy (nats) at the flat positions `picked`, each weighted by `weights` where the batch has them.

    Only those positions meet the LM head. Padding is on the right, so a causal model needs no mask.
    """
    return states_loss(model, model.model(input_ids=batch["ids"], use_cache=False), batch, label_smoothing)


def states_loss(
    model: Any, output: Any, batch: Mapping[str, torch.Tensor], label_smoothing: float = 0.0
) -> torch.Tensor:
    """`picked_loss` from the output of the model's body."""
    import torch

    states = output.last_hidden_state
    logits = model.lm_head(states.flatten(0, 1)[batch["picked"]])
    losses = torch.nn.functional.cross_entropy(
        logits, batch["wanted"], reduction="none", label_smoothing=label_smoothing
    )
    weights = batch.get("weights")
    return losses.mean() if weights is None else (losses * weights).sum() / weights.sum()


def stream_loss(model: Any, stream: np.ndarray, length: int, limit: int, batch_size: int = 16) -> float:
    """Mean next-token loss (nats) over about the first `limit` tokens of a stream, every position counted."""
    import torch

    windows = max(1, min(limit, len(stream) - 1) // length)
    model.eval()
    total = count = 0.0
    with torch.inference_mode():
        for start in range(0, windows, batch_size):
            rows = [
                torch.from_numpy(stream[at * length : (at + 1) * length + 1].astype("int64"))
                for at in range(start, min(start + batch_size, windows))
            ]
            ids = torch.stack(rows) if all(len(row) == len(rows[0]) for row in rows) else rows[0][None]
            picked = torch.arange(ids[:, :-1].numel())
            batch = {"ids": ids[:, :-1], "picked": picked, "wanted": ids[:, 1:].reshape(-1)}
            total += float(picked_loss(model, batch)) * len(picked)
            count += len(picked)
    return total / count


def perplexity(loss: float) -> float:
    """exp(loss), infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf
