"""The aligned model: direct preference optimisation of the fine-tuned model (Rafailov et al. 2023, TRL's
trainer).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_assets.alignment.answer_head import score_answers_only
from llm_assets.alignment.config import DpoConfig
from llm_assets.alignment.reward import load_reward_model, score
from llm_assets.alignment.trl_run import quiet, train, trainer_arguments
from llm_assets.artifacts import PAIRS, Progress, Summary, no_progress, read_table
from llm_assets.inference import load_generator, torch_setup
from llm_assets.models.llama import load_model, save_checkpoint
from llm_assets.models.tokenizer import load_tokenizer

SHARES = (1.0, 0.5, 0.25)  # of DPO's step, tried until the held-out accuracy is kept


def align(
    finetuned: Path,
    reward_model: Path,
    pairs: Path,
    out: Path,
    config: DpoConfig,
    answer_tokens: int,
    seed: int,
    threads: int,
    progress: Progress = no_progress,
) -> Summary:
    """Write the aligned checkpoint into `out`. answer_tokens: longest answer that is judged.

    Reported on held-out prompts: what the reward model prefers (against the fine-tuned model), how far the
    model has moved (KL), and whether it routes as well as before.
    """
    torch_setup(seed, threads)
    rows = read_table(pairs / PAIRS).to_pylist()
    curves = _train(finetuned, [row for row in rows if row["split"] == "train"], out, config, seed, progress)
    held_out = [row for row in rows if row["split"] == "validation"]
    prompts = [row["prompt"] for row in held_out]
    progress(0, 1, "judging on held-out prompts")
    before = load_generator(finetuned, threads).generate(prompts, answer_tokens)
    kept, after = SHARES[0], load_generator(out, threads).generate(prompts, answer_tokens)
    for share in SHARES[1:]:
        if _accuracy(held_out, before) - _accuracy(held_out, after) <= config.tolerance:
            break
        step_back(finetuned, out, share / kept)
        kept, after = share, load_generator(out, threads).generate(prompts, answer_tokens)
    judge, tokenizer = load_reward_model(reward_model, seed), load_tokenizer(finetuned)
    old, new = score(judge, tokenizer, prompts, before), score(judge, tokenizer, prompts, after)
    wins, losses = int((new > old).sum()), int((new < old).sum())
    ties = len(prompts) - wins - losses
    metrics: dict[str, Any] = {
        "win_rate": round((wins + ties / 2) / len(prompts), 4),
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "kl_to_reference": round(mean_kl(out, finetuned, prompts, after), 5),
        "reward_gain": round(float((new - old).mean()), 4),
    }
    if any(row["task"] == "route" for row in held_out):
        metrics["accuracy_before"] = round(_accuracy(held_out, before), 4)
        metrics["accuracy"] = round(_accuracy(held_out, after), 4)
        metrics["accuracy_drop"] = round(_accuracy(held_out, before) - _accuracy(held_out, after), 4)
    metrics["share_of_step"] = kept
    if curves["rewards/margins"]:
        metrics["reward_margin"] = round(curves["rewards/margins"][-1][1], 4)
    changed = [index for index in range(len(prompts)) if before[index] != after[index]]
    return Summary(
        metrics=metrics,
        curves={"training loss": curves["loss"], "DPO reward margin": curves["rewards/margins"]},
        bars={
            "against the fine-tuned model": {
                "wins": float(wins),
                "ties": float(ties),
                "losses": float(losses),
            }
        },
        samples=[
            {
                "prompt": prompts[index][-160:],
                "fine-tuned": before[index],
                "aligned": after[index],
                "reward": f"{old[index]:+.2f} to {new[index]:+.2f}",
            }
            for index in changed[:8]
        ],
        note=f"{len(changed)} of {len(prompts)} held-out answers changed; a tie counts half a win. "
        f"{kept:.0%} of DPO's step is kept: the most that costs no accuracy.",
    )


def step_back(reference: Path, policy: Path, share: float) -> None:
    """Keep only `share` of the way from the weights of `reference` to those of `policy`, in place."""
    import torch

    start, model = load_model(reference).state_dict(), load_model(policy)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(start[name] + (weight - start[name]) * share)
    save_checkpoint(model, load_tokenizer(policy), policy)


def _accuracy(rows: Sequence[dict[str, Any]], answers: Sequence[str]) -> float:
    """Share of the routed rows that got the chosen answer; 1 where there is none."""
    right = [answer == row["chosen"] for row, answer in zip(rows, answers, strict=True) if row["task"] == "route"]
    return float(np.mean(right)) if right else 1.0


def _train(
    finetuned: Path,
    rows: Sequence[dict[str, Any]],
    out: Path,
    config: DpoConfig,
    seed: int,
    progress: Progress,
) -> dict[str, list[tuple[float, float]]]:
    with quiet(), tempfile.TemporaryDirectory(prefix="llm-assets-dpo-") as scratch:
        from datasets import Dataset
        from trl import DPOConfig as Arguments
        from trl import DPOTrainer

        data = Dataset.from_dict({name: [row[name] for row in rows] for name in ("prompt", "chosen", "rejected")})
        losses = [("sigmoid", 1.0), ("sft", config.answer_loss_weight)]
        used = [(name, weight) for name, weight in losses if weight > 0]
        arguments = Arguments(
            **trainer_arguments(scratch, config.epochs, config.batch_size, config.learning_rate, len(rows), seed),
            beta=config.beta,
            loss_type=[name for name, _ in used],
            loss_weights=[weight for _, weight in used],
        )
        model, tokenizer = load_model(finetuned), load_tokenizer(finetuned)
        arguments.max_length = model.config.max_position_embeddings
        reference = load_model(finetuned)
        trainer = DPOTrainer(
            model=model,
            ref_model=reference,
            args=arguments,
            train_dataset=data,
            processing_class=tokenizer,
        )
        if arguments.use_cpu:
            score_answers_only(model)
            score_answers_only(reference)
        curves = train(trainer, progress, "DPO", ["loss", "rewards/margins"])
        save_checkpoint(model, load_tokenizer(finetuned), out)
    return curves


def mean_kl(
    policy: Path, reference: Path, prompts: Sequence[str], answers: Sequence[str], batch_size: int = 64
) -> float:
    """KL(policy || reference) in nats a token, over the policy's own answers and their end, exact over the
    vocabulary.
    """
    import torch

    models = [load_model(policy), load_model(reference)]
    tokenizer = load_tokenizer(policy)
    limit = models[0].config.max_position_embeddings
    asked = [item.ids for item in tokenizer.backend_tokenizer.encode_batch(list(prompts))]
    said = [[*item.ids, tokenizer.eos_token_id] for item in tokenizer.backend_tokenizer.encode_batch(list(answers))]
    order = sorted(range(len(asked)), key=lambda row: (len(asked[row]) + len(said[row]), row))
    total, count = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            sequences = [(asked[row] + said[row])[-limit:] for row in rows]
            ids = torch.full((len(rows), max(map(len, sequences))), int(tokenizer.pad_token_id or 0))
            predicts = torch.zeros_like(ids, dtype=torch.bool)  # the positions whose next token is of the answer
            for position, (row, sequence) in enumerate(zip(rows, sequences, strict=True)):
                ids[position, : len(sequence)] = torch.tensor(sequence)
                predicts[position, len(sequence) - len(said[row]) - 1 : len(sequence) - 1] = True
            hidden = [model.model(input_ids=ids).last_hidden_state[predicts] for model in models]
            own, other = (model.lm_head(states).log_softmax(-1) for model, states in zip(models, hidden, strict=True))
            total += float((own.exp() * (own - other)).sum())
            count += len(own)
    return total / max(count, 1)
