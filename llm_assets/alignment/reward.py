"""The reward model: the fine-tuned model with one number for a head, trained to prefer chosen over rejected
answers.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llm_assets.alignment.config import RewardConfig
from llm_assets.alignment.overlap import words
from llm_assets.alignment.trl_run import quiet, train, trainer_arguments
from llm_assets.artifacts import PAIRS, Progress, Summary, no_progress, read_table
from llm_assets.inference import torch_setup
from llm_assets.models.llama import save_checkpoint
from llm_assets.models.tokenizer import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

BINS = 12


def train_reward_model(
    finetuned: Path,
    pairs: Path,
    out: Path,
    config: RewardConfig,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write a LlamaForSequenceClassification checkpoint (num_labels = 1) into `out`.

    Its accuracy is the share of held-out pairs whose chosen answer gets the higher reward. The correlation of
    reward and answer length says whether it judges by length.
    """
    torch_setup(seed, threads)
    with quiet():
        from datasets import Dataset
        from trl import RewardConfig as Arguments
        from trl import RewardTrainer

        rows = read_table(pairs / PAIRS).to_pylist()
        tokenizer = load_tokenizer(finetuned)
        model = load_reward_model(finetuned, seed)
        train_rows = [row for row in rows if row["split"] == "train"]
        limit = model.config.max_position_embeddings
        data = Dataset.from_dict(
            {
                f"{side}_ids": encode(
                    tokenizer, [row["prompt"] for row in train_rows], [row[side] for row in train_rows], limit
                )
                for side in ("chosen", "rejected")
            }
        )
        with tempfile.TemporaryDirectory(prefix="llm-assets-reward-") as scratch:
            arguments = Arguments(
                **trainer_arguments(
                    scratch, config.epochs, config.batch_size, config.learning_rate, len(train_rows), seed
                ),
                max_length=None,
                center_rewards_coefficient=0.01,
            )
            trainer = RewardTrainer(model=model, args=arguments, train_dataset=data, processing_class=tokenizer)
            curves = train(trainer, progress, "reward model", ["loss", "accuracy"])
    model.eval()
    save_checkpoint(model, load_tokenizer(finetuned), out)
    held_out = [row for row in rows if row["split"] == "validation"]
    prompts = [row["prompt"] for row in held_out]
    chosen = score(model, tokenizer, prompts, [row["chosen"] for row in held_out])
    rejected = score(model, tokenizer, prompts, [row["rejected"] for row in held_out])
    return _summary(held_out, chosen, rejected, curves)


def load_reward_model(folder: Path, seed: int) -> PreTrainedModel:
    """A checkpoint as a reward model; the head of one that has none is drawn by `seed`, small."""
    import torch
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(seed)
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1, dtype="float32")
    return model.eval()


def encode(
    tokenizer: PreTrainedTokenizerFast, prompts: Sequence[str], answers: Sequence[str], limit: int
) -> list[list[int]]:
    """Token ids of prompt, answer and <|end|>; of more than `limit` tokens the last ones."""
    texts = [prompt + answer + str(tokenizer.eos_token) for prompt, answer in zip(prompts, answers, strict=True)]
    return [item.ids[-limit:] for item in tokenizer.backend_tokenizer.encode_batch(texts)]


def score(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    prompts: Sequence[str],
    answers: Sequence[str],
    batch_size: int = 64,
) -> np.ndarray:
    """The reward of each answer, float32 [n]."""
    import torch

    encoded = encode(tokenizer, prompts, answers, model.config.max_position_embeddings)
    order = sorted(range(len(encoded)), key=lambda row: (len(encoded[row]), row))
    rewards = np.zeros(len(encoded), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            width = max(len(encoded[row]) for row in rows)
            ids = torch.full((len(rows), width), int(tokenizer.pad_token_id or 0))
            mask = torch.zeros_like(ids)
            for position, row in enumerate(rows):
                ids[position, : len(encoded[row])] = torch.tensor(encoded[row])
                mask[position, : len(encoded[row])] = 1
            rewards[rows] = model(input_ids=ids, attention_mask=mask).logits[:, 0].float().numpy()
    return rewards


def _summary(
    rows: Sequence[dict[str, Any]],
    chosen: np.ndarray,
    rejected: np.ndarray,
    curves: dict[str, list[tuple[float, float]]],
) -> Summary:
    margins = chosen - rejected
    metrics: dict[str, Any] = {
        "pair_accuracy": round(float((margins > 0).mean()), 4),
        "mean_margin": round(float(margins.mean()), 4),
        "length_bias": round(_length_bias(rows, chosen, rejected), 4),
        "length_bias_size": round(abs(_length_bias(rows, chosen, rejected)), 4),
        "validation_pairs": len(rows),
    }
    by_task = {}
    for task in sorted({row["task"] for row in rows}):
        inside = np.array([row["task"] == task for row in rows])
        by_task[task] = round(float((margins[inside] > 0).mean()), 4)
        metrics[f"pair_accuracy_{task}"] = by_task[task]
    counts, edges = np.histogram(margins, bins=BINS)
    histogram = {f"{edges[i]:+.2f} to {edges[i + 1]:+.2f}": float(counts[i]) for i in range(BINS)}
    worst = np.argsort(margins, kind="stable")[:6]
    return Summary(
        metrics=metrics,
        curves={"training loss": curves["loss"], "accuracy on the batch": curves["accuracy"]},
        bars={"margin of held-out pairs (reward of chosen - rejected)": histogram, "pair accuracy": by_task},
        samples=[
            {
                "margin": f"{margins[row]:+.2f}",
                "task": rows[row]["task"],
                "chosen": rows[row]["chosen"],
                "rejected": rows[row]["rejected"],
            }
            for row in worst
        ],
        note="Samples are the held-out pairs that the reward model gets most wrong.",
    )


def _length_bias(rows: Sequence[dict[str, Any]], chosen: np.ndarray, rejected: np.ndarray) -> float:
    """Pearson correlation between the differences in reward and in words, chosen minus rejected; 0 if
    undefined.
    """
    lengths = np.array([len(words(row["chosen"])) - len(words(row["rejected"])) for row in rows], dtype=np.float64)
    margins = (chosen - rejected).astype(np.float64)
    if lengths.std() == 0 or margins.std() == 0:
        return 0.0
    return float(np.corrcoef(lengths, margins)[0, 1])
