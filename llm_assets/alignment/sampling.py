"""Several sampled answers a prompt: one prefill a prompt, whose cache all its samples share."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from llm_assets.artifacts import Progress, no_progress
from llm_assets.models.llama import load_model
from llm_assets.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def sample_answers(
    checkpoint: Path,
    prompts: Sequence[str],
    lengths: Sequence[int],
    count: int,
    temperature: float,
    seed: int,
    progress: Progress = no_progress,
    batch_size: int = 64,
) -> list[list[str]]:
    """`count` answers for every prompt, of at most `lengths[i]` tokens; the same seed gives the same
    answers.
    """
    import torch

    model, tokenizer = load_model(checkpoint), load_tokenizer(checkpoint)
    random = torch.Generator().manual_seed(seed)
    encoded = [item.ids for item in tokenizer.backend_tokenizer.encode_batch(list(prompts))]
    order = sorted(range(len(prompts)), key=lambda row: (lengths[row], len(encoded[row]), row))
    answers: list[list[str]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        longest = max(lengths[row] for row in rows)
        room = model.config.max_position_embeddings - longest
        tokens = _sample(model, [encoded[row][-room:] for row in rows], count, longest, temperature, random)
        for position, row in enumerate(rows):
            for sample in tokens[position * count : (position + 1) * count].tolist():
                ids = sample[: sample.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in sample else sample
                answers[row].append(
                    tokenizer.backend_tokenizer.decode(ids[: lengths[row]], skip_special_tokens=True).strip()
                )
        progress(start + len(rows), len(order), "sampled answers")
    return answers


def _sample(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    count: int,
    max_new_tokens: int,
    temperature: float,
    random: torch.Generator,
) -> torch.Tensor:
    """Token ids [len(prompts) * count, max_new_tokens]; after its end token a row goes on with end tokens."""
    import torch
    from transformers import DynamicCache

    eos, width = int(model.config.eos_token_id), max(map(len, prompts))
    ids = torch.full((len(prompts), width), model.config.pad_token_id)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):  # padded on the left: all rows go on from the same column
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    cache = DynamicCache(config=model.config)
    samples = torch.full((len(prompts) * count, max_new_tokens), eos)
    rows = torch.arange(len(samples))  # the samples that have not ended
    with torch.inference_mode():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            logits_to_keep=1,
        ).logits[:, -1]
        cache.batch_repeat_interleave(count)
        logits, mask = logits.repeat_interleave(count, 0), mask.repeat_interleave(count, 0)
        for step in range(max_new_tokens):
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=random)
            samples[rows, step] = chosen[:, 0]
            going = torch.nonzero(chosen[:, 0] != eos)[:, 0]
            if not len(going) or step == max_new_tokens - 1:
                break
            if len(going) < len(rows):
                rows, chosen, mask = rows[going], chosen[going], mask[going]
                cache.batch_select_indices(going)
            mask = torch.cat([mask, torch.ones_like(chosen)], dim=1)
            logits = model(
                input_ids=chosen,
                attention_mask=mask,
                position_ids=mask.sum(1, keepdim=True) - 1,
                past_key_values=cache,
            ).logits[:, -1]
    return samples
