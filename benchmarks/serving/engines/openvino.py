"""openvino-genai's ContinuousBatchingPipeline, in this process, on the GGUF file that it reads itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..workload import NEW_TOKENS


class Engine:
    def __init__(self, path: Path, threads: int) -> None:
        import numpy as np
        import openvino
        import openvino_genai

        self._np, self._openvino, self._genai = np, openvino, openvino_genai
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.cache_size = 1
        scheduler.max_num_seqs = 16
        scheduler.max_num_batched_tokens = 2048
        scheduler.enable_prefix_caching = False
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            str(path), scheduler, "CPU", {"INFERENCE_NUM_THREADS": threads}
        )
        self._wanted = openvino_genai.GenerationConfig()
        self._wanted.max_new_tokens = self._wanted.min_new_tokens = NEW_TOKENS
        self._wanted.ignore_eos = True
        self._wanted.do_sample = False
        self._running: dict[int, Any] = {}
        self._numbers = 0

    def submit(self, number: int, prompt: list[int]) -> None:
        ids = self._openvino.Tensor(self._np.array([prompt], dtype=self._np.int64))
        self._numbers += 1
        self._running[number] = self._pipeline.add_request(self._numbers, ids, self._wanted)

    def end(self, number: int) -> None:
        del self._running[number]

    def step(self) -> list[tuple[int, int]]:
        self._pipeline.step()
        chosen = []
        for number, handle in self._running.items():
            if handle.can_read():
                for output in handle.read().values():
                    chosen += [(number, int(token)) for token in output.generated_ids]
        return chosen
