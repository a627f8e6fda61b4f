"""transformers' `generate` in fp32: one static batch."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..workload import NEW_TOKENS


class Engine:
    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from transformers import LlamaForCausalLM

        torch.set_num_threads(threads)
        self._torch = torch
        self._model: Any = LlamaForCausalLM.from_pretrained(path, dtype="float32").eval()

    def generate(self, prompts: list[list[int]]) -> Iterator[list[int]]:
        steps: queue.Queue[list[int] | None] = queue.Queue()

        class Streamer:
            """`generate` calls put() with the prompts first, then with each step's tokens [prompts]."""

            def __init__(self) -> None:
                self.begun = False

            def put(self, tokens: Any) -> None:
                if self.begun:
                    steps.put(tokens.tolist())
                self.begun = True

            def end(self) -> None:
                steps.put(None)

        ids = self._torch.tensor(prompts)
        wanted = {"max_new_tokens": NEW_TOKENS, "do_sample": False, "eos_token_id": None, "pad_token_id": 0}
        given = {"input_ids": ids, "attention_mask": self._torch.ones_like(ids), "streamer": Streamer(), **wanted}
        thread = threading.Thread(target=self._model.generate, kwargs=given)
        thread.start()
        while (tokens := steps.get()) is not None:
            yield tokens
        thread.join()
