"""A session whose inputs and outputs stay bound from call to call."""

from __future__ import annotations

from typing import Any

import numpy as np

from llm_assets.inference.kv_cache import KvCache


class BoundRows:
    """A session over rows of a cache, whose keys and values stay bound for as long as the same rows are asked for, and
    whose inputs stay where they are for as long as they keep their shapes: binding costs as much as a small node.

    pairs: whether its products need an even number of rows.
    """

    def __init__(self, session: Any) -> None:
        self._session, self._binding, self.pairs = session, session.io_binding(), False
        self._bound: tuple[Any, ...] = ()
        self._inputs: dict[str, np.ndarray] = {}
        self._logits: np.ndarray | None = None

    def run(
        self, cache: KvCache, first: int, inputs: dict[str, np.ndarray], logits: np.ndarray
    ) -> dict[str, np.ndarray]:
        """One call over rows first…, of which `input_ids` has a row each; it fills `logits`. The arrays that its inputs
        lie in: what is written to them is what `again` reads."""
        rows, binding = len(inputs["input_ids"]), self._binding
        wanted = (cache, first, rows, cache.capacity)
        if self._bound != wanted:
            if first + rows > cache.rows:
                raise ValueError(f"rows {first} to {first + rows - 1} are asked for; the cache has {cache.rows}")
            for index, array in enumerate(cache.arrays):
                layer, kind = index // 2, "value" if index % 2 else "key"
                part = array[first : first + rows]
                at = ("cpu", 0, part.dtype, part.shape, part.ctypes.data)
                binding.bind_input(f"past_key_values.{layer}.{kind}", *at)
                binding.bind_output(f"present.{layer}.{kind}", *at)
            self._bound = wanted
        for name, array in inputs.items():
            kept = self._inputs.get(name)
            if kept is not None and kept.shape == array.shape:
                kept[...] = array
            else:
                self._inputs[name] = array
                binding.bind_input(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        if self._logits is not logits:
            binding.bind_output("logits", "cpu", 0, logits.dtype, logits.shape, logits.ctypes.data)
            self._logits = logits
        self.again()
        return self._inputs

    def again(self) -> None:
        """The same call with what its arrays hold now."""
        self._session.run_with_iobinding(self._binding)
