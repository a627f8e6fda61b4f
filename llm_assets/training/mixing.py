"""MixUp and CutMix of input embeddings, for answers of several tokens.

Each row i of a batch gets a partner j of the same batch, laid under it so that both answers begin at the same place (a
longer partner loses its beginning). With lambda of Beta(alpha, alpha):

- MixUp (Zhang et al., ICLR 2018, arXiv:1710.09412; wordMixup: Guo, Mao and Zhang 2019, arXiv:1905.08941): where both
  have a token, the input is lambda e_i + (1 - lambda) e_j.
- CutMix (Yun et al., ICCV 2019, arXiv:1905.04899): a span of (1 - lambda) of i's prompt is j's; lambda is then counted
  in the tokens that i really kept. The answers, fed back by teacher forcing, are mixed by lambda as above.

The loss is lambda CE(i's answer) + (1 - lambda) CE(j's), each token by its example's weight: for answers of one token
the papers' own. Where only one of the two has a token it stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from llm_assets.models.llama import states_loss
from llm_assets.training.mixing_config import EmbeddingCutMix, MixUp

if TYPE_CHECKING:
    import numpy as np
    import torch


class TokenBatches(Protocol):
    """What is mixed: `batches[step]` names rows of `prompts`, `answers` (token ids) and `weights`."""

    prompts: list[list[int]]
    answers: list[list[int]]
    weights: list[float]
    batches: list[list[int]]
    pad: int


class MixedBatches:
    """The batches of `plain` with partners and lambdas, drawn for each step by seed and step alone.

    A batch: `ids` and `partner` [rows, width], `share` [rows, width] of `ids` in the input, and `picked`, `wanted`,
    `weights` as in `AnswerBatches`, i's tokens before j's, lambda multiplied in. Nothing goes beyond `limit` tokens.
    """

    def __init__(self, plain: TokenBatches, config: MixUp | EmbeddingCutMix, limit: int, seed: int) -> None:
        self.plain, self.config, self.limit, self.seed = plain, config, limit, seed

    def __len__(self) -> int:
        return len(self.plain.batches)

    def __getitem__(self, index: int) -> Mapping[str, torch.Tensor]:
        import numpy as np

        rows = self.plain.batches[index]
        random = np.random.default_rng([self.seed, index])
        partners = [rows[at] for at in random.permutation(len(rows)).tolist()]
        return self.mix(rows, partners, random.beta(self.config.alpha, self.config.alpha, len(rows)), random)

    def mix(
        self, rows: Sequence[int], partners: Sequence[int], shares: np.ndarray, random: np.random.Generator
    ) -> Mapping[str, torch.Tensor]:
        """The batch of `rows` over `partners`; `shares`: the lambda of each."""
        import numpy as np
        import torch

        prompts, answers, plain = self.plain.prompts, self.plain.answers, self.plain
        pairs = list(zip(rows, partners, strict=True))
        width = min(self.limit, max(len(prompts[i]) + max(len(answers[i]), len(answers[j])) - 1 for i, j in pairs))
        ids, under = np.full((2, len(rows), width), plain.pad, dtype=np.int64)
        share = np.ones((len(rows), width), dtype=np.float32)
        picked: tuple[list[int], list[int]] = ([], [])
        wanted: tuple[list[int], list[int]] = ([], [])
        weights: tuple[list[float], list[float]] = ([], [])
        for row, (i, j) in enumerate(pairs):
            start, kept = len(prompts[i]), float(shares[row])
            own, other = prompts[i] + answers[i][:-1], prompts[j] + answers[j][:-1]
            shift = start - len(prompts[j])
            other, first = other[max(0, -shift) :], max(0, shift)
            last = min(first + len(other), width)
            ids[row, : len(own)] = own
            under[row, first:last] = other[: last - first]
            if isinstance(self.config, EmbeddingCutMix):
                size = min(round((1 - kept) * start), start - first)
                at = first + int(random.integers(start - first - size + 1))
                share[row, at : at + size] = 0.0
                kept = 1 - size / start
            else:
                share[row, first:start] = kept
            share[row, start:last] = kept
            share[row, len(own) : last] = 0.0
            for side, (example, part) in enumerate(((i, kept), (j, 1 - kept))):
                tokens = answers[example][: width - start + 1]
                picked[side].extend(row * width + start - 1 + place for place in range(len(tokens)))
                wanted[side].extend(tokens)
                weights[side].extend([part * plain.weights[example]] * len(tokens))
        return {
            "ids": torch.from_numpy(ids),
            "partner": torch.from_numpy(under),
            "share": torch.from_numpy(share),
            "picked": torch.tensor(picked[0] + picked[1]),
            "wanted": torch.tensor(wanted[0] + wanted[1]),
            "weights": torch.tensor(weights[0] + weights[1]),
        }


def mixed_loss(model: Any, batch: Mapping[str, torch.Tensor], label_smoothing: float = 0.0) -> torch.Tensor:
    """The weighted cross-entropy (nats) of a batch of `MixedBatches`."""
    embed, share = model.get_input_embeddings(), batch["share"][..., None]
    mixed = share * embed(batch["ids"]) + (1 - share) * embed(batch["partner"])
    return states_loss(model, model.model(inputs_embeds=mixed, use_cache=False), batch, label_smoothing)
