"""onnxruntime-genai's Generator on its own builder's model: one static batch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..workload import NEW_TOKENS


class Engine:
    def __init__(self, path: Path, threads: int) -> None:
        import onnxruntime_genai

        self._genai = onnxruntime_genai
        config = onnxruntime_genai.Config(str(path))
        config.overlay(f'{{"model": {{"decoder": {{"session_options": {{"intra_op_num_threads": {threads}}}}}}}}}')
        self._model = onnxruntime_genai.Model(config)

    def generate(self, prompts: list[list[int]]) -> Iterator[list[int]]:
        wanted = self._genai.GeneratorParams(self._model)
        length = len(prompts[0]) + NEW_TOKENS
        wanted.set_search_options(do_sample=False, min_length=length, max_length=length, batch_size=len(prompts))
        generator = self._genai.Generator(self._model, wanted)
        generator.append_tokens(prompts)
        for _ in range(NEW_TOKENS):
            generator.generate_next_token()
            yield [int(token) for token in generator.get_next_tokens()]
