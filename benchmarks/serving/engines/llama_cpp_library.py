"""llama.cpp in this process: continuous batching over libllama's C API, as its server does it (one `llama_decode` holds
every decoding sequence's token and the prompts that wait), without the server's HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

SLOTS, CONTEXT, BATCH = 16, 8192, 2048


class Engine:
    def __init__(self, path: Path, threads: int) -> None:
        import llama_cpp
        import numpy as np

        self._l: Any = llama_cpp
        self._np = np
        llama_cpp.llama_backend_init()
        self._quiet = llama_cpp.llama_log_callback(lambda *_: None)
        llama_cpp.llama_log_set(self._quiet, None)
        self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
        wanted = llama_cpp.llama_context_default_params()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch, wanted.n_seq_max = CONTEXT, BATCH, 512, SLOTS
        wanted.n_threads = wanted.n_threads_batch = threads
        wanted.kv_unified = False
        self._context = llama_cpp.llama_init_from_model(self._model, wanted)
        self._vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self._model))
        self._batch = llama_cpp.llama_batch_init(BATCH, 0, 1)
        self._waiting: list[tuple[int, list[int]]] = []
        self._slots: dict[int, list[int]] = {}  # slot -> [request, position of its next token, that token]

    def submit(self, number: int, prompt: list[int]) -> None:
        self._waiting.append((number, prompt))

    def end(self, number: int) -> None:
        slot = next(slot for slot, (request, _, _) in self._slots.items() if request == number)
        del self._slots[slot]
        self._l.llama_memory_seq_rm(self._l.llama_get_memory(self._context), slot, -1, -1)

    def step(self) -> list[tuple[int, int]]:
        """One token more for every sequence, the new ones among them."""
        batch, wanted = self._batch, []
        batch.n_tokens = 0
        for slot, (_, position, token) in self._slots.items():
            wanted.append((slot, self._add(token, position, slot, True)))
        while self._waiting and batch.n_tokens + len(self._waiting[0][1]) <= BATCH:
            number, prompt = self._waiting.pop(0)
            slot = next(at for at in range(SLOTS) if at not in self._slots)
            for position, token in enumerate(prompt):
                at = self._add(token, position, slot, position == len(prompt) - 1)
            self._slots[slot] = [number, len(prompt) - 1, 0]
            wanted.append((slot, at))
        if code := self._l.llama_decode(self._context, batch):
            raise RuntimeError(f"llama_decode returned {code}")
        chosen = []
        for slot, at in wanted:
            logits = self._np.ctypeslib.as_array(self._l.llama_get_logits_ith(self._context, at), (self._vocab,))
            token = int(logits.argmax())
            number, position, _ = self._slots[slot]
            self._slots[slot] = [number, position + 1, token]
            chosen.append((number, token))
        return chosen

    def _add(self, token: int, position: int, slot: int, logits: bool) -> int:
        batch, at = self._batch, self._batch.n_tokens
        batch.token[at], batch.pos[at], batch.n_seq_id[at], batch.logits[at] = token, position, 1, logits
        batch.seq_id[at][0] = slot
        batch.n_tokens += 1
        return int(at)
