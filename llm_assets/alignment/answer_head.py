"""TRL's DPO trainer with an LM head that sees only answers.

On a CPU, TRL 1.16 projects every position of prompt and answer onto the vocabulary, of which the loss uses
the answers' (its Triton kernels do better on a GPU). With a large vocabulary and short answers that is
nearly all of the time: a step here takes a tenth. The numbers are the same; a test compares them with TRL's.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def score_answers_only(model: PreTrainedModel) -> None:
    """Replace what `model(..., labels=..., fused_lm_head=True)` computes; call it after the trainer was
    built.
    """
    from trl.trainer.utils import FusedCausalLMOutput

    original = model.forward

    @functools.wraps(type(model).forward)
    def forward(*args: Any, fused_lm_head: bool = False, labels: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if not fused_lm_head or labels is None:
            return original(*args, labels=labels, **kwargs)
        hidden = model.base_model(*args, **{**kwargs, "use_cache": False}).last_hidden_state[:, :-1]
        targets = labels[:, 1:]
        mask = targets != -100
        logits = model.lm_head(hidden[mask])
        logps = logits.log_softmax(-1)
        chosen = logps.gather(-1, targets[mask][:, None])[:, 0]

        def spread(values: torch.Tensor) -> torch.Tensor:
            return values.new_zeros(mask.shape).masked_scatter(mask, values)

        return FusedCausalLMOutput(
            loss=-chosen.sum() / mask.sum().clamp(min=1),
            log_probs=spread(chosen),
            entropy=spread(-(logps.exp() * logps).sum(-1).detach()),
            mean_logits=spread(logits.detach().mean(-1)),
            is_top1=spread(logits.detach().argmax(-1) == targets[mask]),
            label_mask=mask,
        )

    model.forward = forward
