"""The `Generator` of a package: greedy answers and their losses, in batches of about equal length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llm_assets.artifacts import Progress, no_progress
from llm_assets.inference.onnx_model import OnnxModel, cache_for
from llm_assets.inference.torch_generator import batches


class OnnxGenerator:
    """Answers prompts with a package (see `load_generator`). A prompt that leaves no room for the answer
    loses its beginning."""

    def __init__(self, folder: Path, threads: int = 2) -> None:
        self.model = OnnxModel(folder, threads)

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        progress: Progress = no_progress,
        batch_size: int = 64,
    ) -> list[str]:
        """One greedy answer a prompt, of at most `max_new_tokens` tokens, without the closing <|end|>."""
        model = self.model
        encoded = self._encode(prompts, [max_new_tokens] * len(prompts))
        answers: list[list[int]] = [[] for _ in prompts]
        done = 0
        for batch in batches([len(ids) for ids in encoded], batch_size):
            longest = max(len(encoded[row]) for row in batch)
            cache = cache_for(model, len(batch), longest + max_new_tokens)
            logits = model.read_prompts(cache, [encoded[row] for row in batch])
            rows = np.array(batch)
            lengths = np.array([len(encoded[row]) for row in batch])
            for step in range(max_new_tokens):
                tokens = logits.argmax(axis=1)
                open_rows = np.flatnonzero(tokens != model.eos)
                for index in open_rows:
                    answers[rows[index]].append(int(tokens[index]))
                if not len(open_rows) or step == max_new_tokens - 1:
                    break
                if len(open_rows) < len(rows):
                    rows, tokens, lengths = rows[open_rows], tokens[open_rows], lengths[open_rows]
                    cache.keep(open_rows.tolist(), lengths.tolist())
                logits = model.decode(cache, tokens, lengths)
                lengths = lengths + 1
            done += len(batch)
            progress(done, len(prompts), "answers")
        return [model.tokenizer.decode(ids, skip_special_tokens=True).strip() for ids in answers]

    def answer_loss(self, prompts: Sequence[str], answers: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Mean negative log-likelihood (nats) of each answer's tokens, <|end|> included; float64 [n]."""
        model = self.model
        targets = [[*model.tokenizer.encode(answer).ids, model.eos] for answer in answers]
        encoded = self._encode(prompts, [len(target) for target in targets])
        losses = np.zeros(len(prompts))
        for batch in batches([len(ids) + len(t) for ids, t in zip(encoded, targets, strict=True)], batch_size):
            longest = max(len(encoded[row]) + len(targets[row]) for row in batch)
            cache = cache_for(model, len(batch), longest)
            logits = model.read_prompts(cache, [encoded[row] for row in batch])
            rows = np.array(batch)
            lengths = np.array([len(encoded[row]) for row in batch])
            for step in range(max(len(targets[row]) for row in batch)):
                tokens = np.array([targets[row][step] for row in rows])
                losses[rows] -= _log_softmax(logits)[np.arange(len(rows)), tokens]
                longer = np.flatnonzero([len(targets[row]) > step + 1 for row in rows])
                if not len(longer):
                    break
                if len(longer) < len(rows):
                    rows, tokens, lengths = rows[longer], tokens[longer], lengths[longer]
                    cache.keep(longer.tolist(), lengths.tolist())
                logits = model.decode(cache, tokens, lengths)
                lengths = lengths + 1
        return losses / np.array([len(target) for target in targets])

    def _encode(self, prompts: Sequence[str], reserved: Sequence[int]) -> list[list[int]]:
        encoded = self.model.tokenizer.encode_batch(list(prompts))
        return [item.ids[-(self.model.context - room) :] for item, room in zip(encoded, reserved, strict=True)]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    """Along the last axis, in float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
