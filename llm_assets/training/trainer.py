"""Training on instruction examples: length-sorted batches of one task each, loss on the answers only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import Progress, no_progress
from llm_assets.errors import UserError
from llm_assets.inference.torch_generator import answer_positions
from llm_assets.models.llama import picked_loss
from llm_assets.models.loop import Curves, Loss, train_steps
from llm_assets.training.config import TrainingConfig
from llm_assets.training.instructions import Example
from llm_assets.training.mixing import MixedBatches, mixed_loss

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

WINDOW = 16  # batches sorted by length together, so that a batch holds little padding


class AnswerBatches:
    """`config.steps` batches of examples, drawn by `seed`: tasks in the recipe's shares, each task in whole rounds.

    A batch: `ids` [rows, width] padded on the right; flat positions `picked` whose next token is an answer's;
    `wanted`, these tokens; `weights`, of their examples. A sequence beyond `limit` tokens loses its beginning.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        examples: Sequence[Example],
        config: TrainingConfig,
        limit: int,
        seed: int,
    ) -> None:
        import numpy as np

        if not examples:
            raise UserError("training has no examples: no row has a label, or a summary with its body; check the data")
        backend = tokenizer.backend_tokenizer
        eos, self.pad = int(tokenizer.eos_token_id), int(tokenizer.pad_token_id)
        # An answer that would fill the context by itself keeps its beginning and at least one prompt token.
        answers = backend.encode_batch([example.answer for example in examples])
        self.answers = [[*item.ids, eos][: limit - 1] for item in answers]
        prompts = backend.encode_batch([example.prompt for example in examples])
        self.prompts = [item.ids[-(limit - len(answer)) :] for item, answer in zip(prompts, self.answers, strict=True)]
        self.weights = [float(example.weight) for example in examples]
        rows: dict[str, list[int]] = {}
        for row, example in enumerate(examples):
            rows.setdefault(example.task, []).append(row)
        random = np.random.default_rng(seed)
        shares = _shares(sorted(rows), config.route_share)
        draws = {task: self._rounds(rows[task], config.batch_size, random) for task in shares}
        chosen = random.choice(len(shares), size=config.steps, p=list(shares.values()))
        names = list(shares)
        self.batches = [next(draws[names[at]]) for at in chosen.tolist()]

    def _rounds(self, rows: list[int], size: int, random: Any) -> Iterator[list[int]]:
        """Batches for ever: each round is a new permutation; windows of it are sorted by length."""
        import numpy as np

        lengths = np.array([len(self.prompts[row]) + len(self.answers[row]) for row in rows])
        while True:
            order = random.permutation(len(rows))
            groups = []
            for start in range(0, len(order), size * WINDOW):
                window = order[start : start + size * WINDOW]
                window = window[np.argsort(lengths[window], kind="stable")]
                groups += [window[at : at + size] for at in range(0, len(window), size)]
            for group in random.permutation(len(groups)):
                yield [rows[at] for at in groups[group].tolist()]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Mapping[str, torch.Tensor]:
        import torch

        rows = self.batches[index]
        sequences = [self.prompts[row] + self.answers[row][:-1] for row in rows]
        width = max(map(len, sequences))
        ids = torch.tensor([sequence + [self.pad] * (width - len(sequence)) for sequence in sequences])
        picked, wanted, owner = answer_positions(
            [len(self.prompts[row]) for row in rows], [self.answers[row] for row in rows]
        )
        weights = torch.tensor([self.weights[row] for row in rows])[owner]
        return {"ids": ids, "picked": owner * width + picked, "wanted": wanted, "weights": weights}


def fine_tune(
    model: Any,
    tokenizer: PreTrainedTokenizerFast,
    examples: Sequence[Example],
    config: TrainingConfig,
    seed: int,
    progress: Progress = no_progress,
    loss: Loss | None = None,
) -> Curves:
    """Train `model` in place on `examples`; `config.steps` steps.

    loss: (model, batch) -> scalar, instead of the weighted cross-entropy of the answers; see `AnswerBatches`. With it
    nothing is mixed (`config.mixing`).
    """
    limit = model.config.max_position_embeddings
    plain = AnswerBatches(tokenizer, examples, config, limit, seed)
    mixed = MixedBatches(plain, config.mixing, limit, seed) if config.mixing and not loss else None

    def answers(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return (mixed_loss if mixed else picked_loss)(model, batch, config.label_smoothing)

    return train_steps(model, mixed or plain, loss or answers, config.optimizer, seed, progress)


def _shares(tasks: Sequence[str], route_share: float) -> dict[str, float]:
    """The share of the steps of each task, summing to 1."""
    if "route" not in tasks or len(tasks) == 1:
        return {task: 1 / len(tasks) for task in tasks}
    others = len(tasks) - 1
    return {task: route_share if task == "route" else (1 - route_share) / others for task in tasks}
