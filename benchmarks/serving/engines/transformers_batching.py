"""transformers' continuous batching (the manager behind `generate_batch` and `transformers serve`) in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..workload import NEW_TOKENS


class Engine:
    def __init__(self, path: Path, threads: int) -> None:
        import torch
        from transformers import ContinuousBatchingConfig, GenerationConfig, LlamaForCausalLM

        torch.set_num_threads(threads)
        model: Any = LlamaForCausalLM.from_pretrained(path, dtype="float32").eval()
        wanted = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0)
        blocks = ContinuousBatchingConfig(
            page_size=32, num_blocks=256, max_batch_tokens=2048, allow_block_sharing=False, max_requests_per_batch=16
        )
        self._manager = model.init_continuous_batching(generation_config=wanted, continuous_batching_config=blocks)
        self._manager.start()
        self._names: dict[str, int] = {}
        self._told: dict[str, int] = {}

    def submit(self, number: int, prompt: list[int]) -> None:
        name = self._manager.add_request(prompt, max_new_tokens=NEW_TOKENS, streaming=True, eos_token_id=-1)
        self._names[name], self._told[name] = number, 0

    def end(self, number: int) -> None:
        """The manager forgets a finished request by itself."""

    def step(self) -> list[tuple[int, int]]:
        result = self._manager.get_result(timeout=60)
        if result is None or result.error:
            raise RuntimeError(f"continuous batching failed: {result.error if result else 'no token within 60 s'}")
        name, told = result.request_id, self._told[result.request_id]
        self._told[name] = len(result.generated_tokens)
        return [(self._names[name], token) for token in result.generated_tokens[told:]]
