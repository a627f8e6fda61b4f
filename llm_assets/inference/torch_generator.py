"""The `Generator` of a Hugging Face checkpoint: greedy, in batches of about equal length, with a KV cache.

Own loop instead of `generate`: rows that have ended leave the batch, and no per-step mask, stopping-criteria and
logits-processor work is done, which for small models costs more than the model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import Progress, no_progress

if TYPE_CHECKING:
    import numpy as np
    import torch


class TorchGenerator:
    """Answers prompts with a checkpoint. A prompt that leaves no room for the answer loses its beginning."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        import torch
        from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

        from llm_assets.inference.quiet import quiet

        torch.set_num_threads(threads)
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(folder, dtype="float32")
            self._start(model, PreTrainedTokenizerFast.from_pretrained(folder))

    @classmethod
    def wrap(cls, model: Any, tokenizer: Any) -> TorchGenerator:
        """Around a model and tokenizer in memory (the model is used as it is, in evaluation mode while answering)."""
        self = cls.__new__(cls)
        self._start(model, tokenizer)
        return self

    def _start(self, model: Any, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.backend = tokenizer.backend_tokenizer
        self.eos = int(tokenizer.eos_token_id)
        self.pad = int(tokenizer.pad_token_id)
        self.context = int(model.config.max_position_embeddings)

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        progress: Progress = no_progress,
        batch_size: int = 64,
    ) -> list[str]:
        """See `Generator`."""
        import torch

        encoded = self._encode(prompts, [max_new_tokens] * len(prompts))
        answers: list[list[int]] = [[] for _ in prompts]
        training = self.model.training
        self.model.eval()
        done = 0
        with torch.inference_mode():
            for rows in batches([len(ids) for ids in encoded], batch_size):
                self._answer(rows, encoded, answers, max_new_tokens)
                done += len(rows)
                progress(done, len(prompts), "answers")
        self.model.train(training)
        return [self.backend.decode(ids, skip_special_tokens=True).strip() for ids in answers]

    def _answer(self, rows: list[int], encoded: Sequence[list[int]], answers: list[list[int]], limit: int) -> None:
        """Greedy decoding of one batch, padded on the left so that all rows go on at the same position."""
        import torch
        from transformers import DynamicCache

        width = max(len(encoded[row]) for row in rows)
        ids = torch.tensor([[self.pad] * (width - len(encoded[row])) + encoded[row] for row in rows])
        mask = torch.tensor([[0] * (width - len(encoded[row])) + [1] * len(encoded[row]) for row in rows])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=self.model.config)
        for step in range(limit):
            logits = self.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            ).logits[:, -1]
            tokens = logits.argmax(-1)
            going = (tokens != self.eos).nonzero()[:, 0]
            for index in going.tolist():
                answers[rows[index]].append(int(tokens[index]))
            if step == limit - 1 or not len(going):
                break
            if len(going) < len(rows):
                rows = [rows[index] for index in going.tolist()]
                tokens, mask, positions = tokens[going], mask[going], positions[going]
                cache.batch_select_indices(going)
            ids = tokens[:, None]
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
            positions = positions[:, -1:] + 1

    def answer_loss(self, prompts: Sequence[str], answers: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """See `Generator`. One forward pass; only the positions that predict an answer meet the LM head."""
        import numpy as np
        import torch

        targets = [[*item.ids, self.eos] for item in self.backend.encode_batch(list(answers))]
        encoded = self._encode(prompts, [len(target) for target in targets])
        losses = np.zeros(len(prompts))
        training = self.model.training
        self.model.eval()
        with torch.inference_mode():
            lengths = [len(ids) + len(target) for ids, target in zip(encoded, targets, strict=True)]
            for rows in batches(lengths, batch_size):
                sequences = [encoded[row] + targets[row] for row in rows]
                width = max(map(len, sequences))
                ids = torch.tensor([sequence + [self.pad] * (width - len(sequence)) for sequence in sequences])
                # Right padding needs no mask: a causal model's earlier positions never see it.
                states = self.model.model(input_ids=ids, use_cache=False).last_hidden_state
                picked, wanted, owner = answer_positions(
                    [len(encoded[row]) for row in rows], [targets[r] for r in rows]
                )
                logits = self.model.lm_head(states[owner, picked])
                loss = torch.nn.functional.cross_entropy(logits.double(), wanted, reduction="none")
                total = torch.zeros(len(rows), dtype=torch.float64).index_add_(0, owner, loss)
                losses[rows] = total.numpy() / np.array([len(targets[row]) for row in rows])
        self.model.train(training)
        return losses

    def _encode(self, prompts: Sequence[str], reserved: Sequence[int]) -> list[list[int]]:
        encoded = self.backend.encode_batch(list(prompts))
        return [item.ids[-(self.context - room) :] for item, room in zip(encoded, reserved, strict=True)]


def answer_positions(
    prompt_lengths: Sequence[int], targets: Sequence[Sequence[int]]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Positions whose next token belongs to an answer, those tokens, and the batch row of each; int64 [answer tokens].

    Rows are prompt + answer; the first answer token is predicted at the prompt's last position.
    """
    import torch

    picked = [at for length, target in zip(prompt_lengths, targets, strict=True)
              for at in range(length - 1, length - 1 + len(target))]  # fmt: skip
    wanted = [token for target in targets for token in target]
    owner = [row for row, target in enumerate(targets) for _ in target]
    return torch.tensor(picked), torch.tensor(wanted), torch.tensor(owner)


def batches(lengths: Sequence[int], batch_size: int) -> Iterator[list[int]]:
    """Row numbers, longest first, so that a batch holds little padding."""
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    for start in range(0, len(order), batch_size):
        yield order[start : start + batch_size]
