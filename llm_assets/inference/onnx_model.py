"""A package on ONNX Runtime: reading prompts and decoding, over rows of one KV cache that the caller manages.

A sequence's logits are the same bits whatever shares its batch and however its prompt was cut into chunks. Integer
products (`integer_products`) give that by themselves. Of others ONNX Runtime may take two rows at a time, and a last
odd one by another kernel, whose rounding differs. Where it does, which depends on the CPU and on how the weights are
stored, products have an even number of rows, padded where need be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llm_assets.artifacts import PACKAGE, read_json
from llm_assets.errors import UserError
from llm_assets.inference.bound_rows import BoundRows
from llm_assets.inference.integer_products import cpu_flags, integer_products
from llm_assets.inference.kv_cache import ALIGNMENT, KvCache, aligned
from llm_assets.inference.session import open_session

MODEL = "model.onnx"
FORMAT = 3  # of package.json and the graph
OLD = 2  # still read, for rollbacks: its graph reads prompts too, more slowly
READ = 1024  # tokens: more in one call are read no faster, and attention's scores would take much memory
SLOWER = ("SkipLayerNormFusion",)  # joins sum and norm into a node that takes longer than both


class OnnxModel:
    """One loaded package.

    package: what `package.json` says. tokenizer: a `tokenizers.Tokenizer`. context: the most tokens of one
    sequence. Raises UserError if the folder holds no readable package.
    """

    def __init__(self, folder: Path, threads: int = 2) -> None:
        from tokenizers import Tokenizer

        missing = [name for name in (PACKAGE, MODEL, "tokenizer.json") if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{folder} is not a model package: {', '.join(missing)} missing. Export one again.")
        self.package: dict[str, Any] = read_json(folder / PACKAGE)
        if self.package.get("format") not in (OLD, FORMAT):
            raise UserError(
                f"{folder} is a package of format {self.package.get('format')}, not {FORMAT}. Export it again."
            )
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.context = int(self.package["context"])
        self.vocab = int(self.package["vocab"])
        self.eos, self.pad = int(self.package["eos"]), int(self.package["pad"])
        self.layers = int(self.package["layers"])
        self._kv_heads, self._head_dim = int(self.package["kv_heads"]), int(self.package["head_dim"])
        precision, new = str(self.package["precision"]), self.package["format"] == FORMAT
        graphs = integer_products(folder / MODEL, precision, cpu_flags()) if new else None
        self._decoded = np.empty((0, self.vocab), dtype=np.float32)
        self._decoder = BoundRows(open_session((graphs and graphs.few_rows) or folder / MODEL, threads, SLOWER))
        self._decoder.pairs = self._rounds_by_company()
        self._reader = BoundRows(open_session(graphs.prompts, threads, SLOWER)) if graphs else self._decoder

    def _rounds_by_company(self) -> bool:
        """Whether a row that is decoded among others has other logits than alone."""
        cache = self.new_cache(4 * ALIGNMENT, ALIGNMENT)
        tokens, lengths = np.linspace(0, self.vocab - 1, 3, dtype=np.int64), np.zeros(3, np.int32)
        together = self.decode(cache, tokens, lengths)
        alone = [self.decode(cache, tokens[row : row + 1], lengths[:1])[0] for row in range(3)]
        return not np.array_equal(together, alone)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token in a KV cache."""
        return 2 * self.layers * self._kv_heads * self._head_dim * 4

    def new_cache(self, tokens: int, capacity: int) -> KvCache:
        """A KV cache with room for so many tokens, in rows of `capacity` (see `aligned`)."""
        return KvCache(self.layers, self._kv_heads, self._head_dim, tokens, capacity)

    def read_prompts(self, cache: KvCache, prompts: Sequence[Sequence[int]], first: int = 0) -> np.ndarray:
        """Read whole prompts (token ids, any lengths) into rows first…; logits after each one's last token,
        float32 [prompts, vocab]. At most `READ` tokens are read in one call.

        Raises ValueError where a prompt is empty or longer than a row, or there are more prompts than rows.
        """
        widths = [len(prompt) + len(prompt) % 2 for prompt in prompts]
        limit = min(cache.capacity, self.context)
        if not prompts or not all(prompts) or max(widths) > limit:
            raise ValueError(f"prompts must have 1 to {limit} tokens; they have {sorted(map(len, prompts))}")
        logits = np.empty((len(prompts), self.vocab), dtype=np.float32)
        begin = 0
        while begin < len(prompts):
            end = begin + 1
            while end < len(prompts) and (end + 1 - begin) * max(widths[begin : end + 1]) <= READ:
                end += 1
            if widths[begin] > READ:
                logits[begin] = self._read_long(cache, first + begin, prompts[begin])
            else:
                logits[begin:end] = self._read_together(cache, first + begin, prompts[begin:end])
            begin = end
        return logits

    def _read_together(self, cache: KvCache, first: int, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int32)
        width = int(lengths.max())
        width += width % 2
        tokens = np.full((len(prompts), width), self.pad, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            tokens[row, : len(prompt)] = prompt
        last = np.arange(len(prompts)) * width + lengths - 1
        return self._run(self._reader, cache, first, tokens, lengths, last)

    def _read_long(self, cache: KvCache, row: int, prompt: Sequence[int]) -> np.ndarray | None:
        for past in range(0, len(prompt), READ):
            logits = self.read_chunk(cache, row, past, prompt[past : past + READ], past + READ >= len(prompt))
        return logits

    def read_chunk(self, cache: KvCache, row: int, past: int, tokens: Sequence[int], last: bool) -> np.ndarray | None:
        """Read the next tokens of a prompt of which `row` holds `past` already; logits float32 [vocab] after the
        `last` chunk, None after others. Raises ValueError where the row has no room."""
        width = len(tokens) + len(tokens) % 2
        if not tokens or past + width > min(cache.capacity, self.context):
            raise ValueError(f"{len(tokens)} tokens after {past} do not fit into {min(cache.capacity, self.context)}")
        ids = np.full((1, width), self.pad, dtype=np.int64)
        ids[0, : len(tokens)] = tokens
        wanted = np.array([len(tokens) - 1] if last else [], dtype=np.int64)
        logits = self._run(self._reader, cache, row, ids, np.array([past + width], np.int32), wanted)
        return logits[0] if last else None

    def decode(self, cache: KvCache, tokens: np.ndarray, lengths: np.ndarray, spare: int = 0) -> np.ndarray:
        """Append one token, int64 [rows], to the cache's first rows, which hold `lengths` tokens, int [rows]; logits
        after it, float32 [rows, vocab].

        spare: tokens that the row after them holds; the one after those may be overwritten.
        """
        return self.decode_greedily(cache, tokens, lengths, 1, spare)[1].copy()

    def decode_greedily(
        self,
        cache: KvCache,
        tokens: np.ndarray,
        lengths: np.ndarray,
        steps: int,
        spare: int = 0,
        enough: Callable[[], bool] = lambda: False,
        endless: Sequence[int] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """`decode` up to `steps` times, each time with the likeliest tokens of the time before: these tokens, int64
        [times - 1, rows], and the logits of the last time, until the next call. That time is the first after which it
        is `enough`, or in which the end token is a row's likeliest, if there is one. endless: rows whose logits of the
        end token become -inf. What surrounds a step costs a small model as much as the step does.
        """
        rows = len(tokens)
        if int(lengths.max()) + steps > min(cache.capacity, self.context):
            raise ValueError(f"a row is full: it has room for {min(cache.capacity, self.context)} tokens")
        count = rows + rows % 2 if self._decoder.pairs else rows
        ids = np.full((count, 1), self.pad, dtype=np.int64)
        ids[:rows, 0] = tokens
        before = np.full(count, spare, dtype=np.int32)
        before[:rows] = lengths
        reach = int(before.max()) + 1
        total = np.array(reach, dtype=np.int32)
        inputs: dict[str, np.ndarray] = {"input_ids": ids, "seqlens_k": before, "total_sequence_length": total}
        inputs["logit_rows"] = np.arange(count)
        if len(self._decoded) != count:
            self._decoded = np.empty((count, self.vocab), dtype=np.float32)
        bound = self._decoder.run(cache, 0, inputs, self._decoded)
        token, past, total = bound["input_ids"][:rows, 0], bound["seqlens_k"][:rows], bound["total_sequence_length"]
        logits, made = self._decoded[:rows], 0
        # Made beforehand, as each of numpy's calls between two steps takes longer than it seems: the model has driven
        # what it needs out of the caches.
        chosen = np.empty((steps, rows), dtype=np.int64)
        ahead = lengths + np.arange(steps)[:, None]
        while True:
            for row in endless:
                logits[row, self.eos] = -np.inf
            if made + 1 == steps or enough() or self.eos in logits.argmax(1, chosen[made]).tolist():
                return chosen[:made], logits
            token[:] = chosen[made]
            made += 1
            past[:] = ahead[made]
            total[...] = reach + made
            self._decoder.again()

    def _run(
        self, rows: BoundRows, cache: KvCache, first: int, tokens: np.ndarray, lengths: np.ndarray, wanted: np.ndarray
    ) -> np.ndarray:
        """One call over rows first…; lengths: tokens of each row after it; logits of the flat positions `wanted`."""
        count = len(wanted)
        positions = np.resize(wanted, count + 1) if rows.pairs and count % 2 else wanted
        logits = np.empty((len(positions), self.vocab), dtype=np.float32)
        total = np.array(max(int(lengths.max()), tokens.shape[1]), dtype=np.int32)
        inputs = {
            "input_ids": tokens,
            "seqlens_k": (lengths - 1).astype(np.int32),
            "total_sequence_length": total,
            "logit_rows": positions.astype(np.int64, copy=False),
        }
        rows.run(cache, first, inputs, logits)
        return logits[:count]


def cache_for(model: OnnxModel, rows: int, longest: int) -> KvCache:
    """A cache of an even number of rows, at least `rows`, each with room for `longest` tokens."""
    capacity = aligned(longest)
    return model.new_cache((rows + rows % 2) * capacity, capacity)
