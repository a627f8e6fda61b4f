"""A package run by onnxruntime with numpy alone: prefill and decode over KV caches that numpy owns.

The graph (see `compression.export`) takes token ids, an attention mask and one key and one value cache a
layer, and gives the logits after the last token of every row. Past and present are one buffer, bound by its
address, so a step copies nothing and rows of a batch may be at different positions: each row's length is
what its mask says. A prefill of several prompts starts from empty caches; onnxruntime allows no past there
(batch 1 apart).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_assets.artifacts import PACKAGE, read_json
from llm_assets.errors import UserError

MODEL = "model.onnx"


@dataclass
class DecodeState:
    """The sequences in flight.

    caches: per layer key, then value: float32 [rows, kv_heads, max_total, head_dim].
    lengths: tokens in the cache of each row, int64 [rows].
    """

    caches: list[np.ndarray]
    lengths: np.ndarray

    @property
    def max_total(self) -> int:
        return int(self.caches[0].shape[2])

    def keep(self, rows: Sequence[int] | np.ndarray) -> DecodeState:
        """A state of these rows, in this order (finished sequences leave it)."""
        index = np.asarray(rows, dtype=np.int64)
        return DecodeState([np.ascontiguousarray(cache[index]) for cache in self.caches], self.lengths[index])

    def join(self, other: DecodeState) -> DecodeState:
        """A state of the rows of both (new sequences enter it). Both must have the same `max_total`."""
        if self.max_total != other.max_total:
            raise ValueError(f"caches of {self.max_total} and of {other.max_total} tokens cannot be joined")
        caches = [np.concatenate(pair) for pair in zip(self.caches, other.caches, strict=True)]
        return DecodeState(caches, np.concatenate([self.lengths, other.lengths]))


class OnnxModel:
    """One loaded package.

    package: what `package.json` says. tokenizer: a `tokenizers.Tokenizer`. context: the most tokens of one
    sequence. Raises UserError if the folder holds no readable package.
    """

    def __init__(self, folder: Path, threads: int = 2) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        missing = [name for name in (PACKAGE, MODEL, "tokenizer.json") if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{folder} is not a model package: {', '.join(missing)} missing. Export one again.")
        self.package: dict[str, Any] = read_json(folder / PACKAGE)
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.context = int(self.package["context"])
        self.vocab = int(self.package["vocab"])
        self.eos, self.pad = int(self.package["eos"]), int(self.package["pad"])
        self.layers = int(self.package["layers"])
        self._cache_shape = (int(self.package["kv_heads"]), int(self.package["head_dim"]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # A waiting thread must not burn the core that the rest of a two-core machine needs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                str(folder / MODEL), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise UserError(f"{folder / MODEL} cannot be loaded: {error}. Export the package again.") from error

    def prefill(self, prompts: Sequence[Sequence[int]], max_total: int) -> tuple[DecodeState, np.ndarray]:
        """Read whole prompts (token ids, any lengths); logits after each one's last token, float32 [rows,
        vocab].

        max_total: tokens each row's cache has room for, prompt included. Raises ValueError where a prompt
        is empty or longer than that, or `max_total` is more than the context.
        """
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        if max_total > self.context:
            raise ValueError(f"max_total {max_total} is more than the context of {self.context} tokens")
        if not len(lengths) or lengths.min() < 1 or lengths.max() > max_total:
            raise ValueError(f"prompts must have 1 to {max_total} tokens; they have {sorted(lengths.tolist())}")
        shape = (len(lengths), self._cache_shape[0], max_total, self._cache_shape[1])
        state = DecodeState([np.zeros(shape, np.float32) for _ in range(2 * self.layers)], lengths)
        tokens = np.full((len(lengths), int(lengths.max())), self.pad, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = prompt
        return state, self._run(state, tokens)

    def decode(self, state: DecodeState, tokens: np.ndarray) -> np.ndarray:
        """Append one token (int64 [rows]) to every row of `state`; logits after it, float32 [rows, vocab]."""
        if int(state.lengths.max()) >= state.max_total:
            raise ValueError(f"a row is full: its cache has room for {state.max_total} tokens")
        state.lengths = state.lengths + 1
        return self._run(state, np.asarray(tokens, dtype=np.int64)[:, None])

    def _run(self, state: DecodeState, tokens: np.ndarray) -> np.ndarray:
        rows = len(tokens)
        width = int(state.lengths.max())
        mask = (np.arange(width)[None, :] < state.lengths[:, None]).astype(np.int64)
        logits = np.empty((rows, self.vocab), dtype=np.float32)
        binding = self._session.io_binding()
        for name, array in (("input_ids", tokens), ("attention_mask", mask)):
            binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        binding.bind_output("logits", "cpu", 0, logits.dtype, logits.shape, logits.ctypes.data)
        for index, cache in enumerate(state.caches):
            layer, kind = index // 2, "value" if index % 2 else "key"
            address = cache.ctypes.data
            binding.bind_input(f"past_key_values.{layer}.{kind}", "cpu", 0, cache.dtype, cache.shape, address)
            binding.bind_output(f"present.{layer}.{kind}", "cpu", 0, cache.dtype, cache.shape, address)
        self._session.run_with_iobinding(binding)
        return logits
