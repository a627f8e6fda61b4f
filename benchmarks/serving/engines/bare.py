"""The product's model without its server: prompts one after another, then all rows decoded together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..workload import NEW_TOKENS

STEPS = 16  # that the model makes by itself


class Engine:
    def __init__(self, path: Path, threads: int) -> None:
        from llm_assets.inference.onnx_model import OnnxModel

        self._model = OnnxModel(path, threads)

    def generate(self, prompts: list[list[int]]) -> Iterator[list[int]]:
        import numpy as np

        from llm_assets.inference.onnx_model import cache_for

        lengths = np.array([len(prompt) for prompt in prompts])
        cache = cache_for(self._model, len(prompts), int(lengths.max()) + NEW_TOKENS)
        logits = np.concatenate(
            [self._model.read_prompts(cache, [prompt], first=row) for row, prompt in enumerate(prompts)]
        )
        logits[:, self._model.eos] = -np.inf  # no row ends
        tokens, rows = logits.argmax(axis=1), range(len(prompts))
        yield tokens.tolist()
        left = NEW_TOKENS - 1
        while left:
            found, logits = self._model.decode_greedily(cache, tokens, lengths, min(STEPS, left), endless=rows)
            tokens = logits.argmax(axis=1)
            for chosen in (*found, tokens):
                yield chosen.tolist()
            lengths, left = lengths + len(found) + 1, left - len(found) - 1
