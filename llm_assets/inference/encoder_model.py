"""An encoder package on ONNX Runtime: a batch of token ids in, class probabilities and embeddings out.

Rows are padded to a multiple of 8 tokens (`EncoderModel.width`). Texts that share a batch have the same width, so each
matrix product sees a text in the same shape whatever shares its batch, and the text gets the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_assets.artifacts import PACKAGE, read_json
from llm_assets.errors import UserError
from llm_assets.inference.session import open_session

MODEL = "model.onnx"
KIND = "encoder"  # `kind` in package.json
STEP = 8  # tokens; an even number, see `inference.onnx_model`


@dataclass(frozen=True)
class Encoded:
    """embeddings: float32 [texts, hidden], of length 1. probabilities: float32 [texts, classes], None where the model
    has no classes."""

    embeddings: np.ndarray
    probabilities: np.ndarray | None


class EncoderModel:
    """One loaded encoder package.

    package: what `package.json` says. tokenizer: a `tokenizers.Tokenizer`; cutting: one that cuts texts to the context.
    context: the most tokens of a text. labels: the classes, none where it only embeds. Raises UserError if the folder
    holds no readable encoder package.
    """

    def __init__(self, folder: Path, threads: int = 2) -> None:
        from tokenizers import Tokenizer

        missing = [name for name in (PACKAGE, MODEL, "tokenizer.json") if not (folder / name).is_file()]
        if missing:
            raise UserError(f"{folder} is not a model package: {', '.join(missing)} missing. Export one again.")
        self.package: dict[str, Any] = read_json(folder / PACKAGE)
        if self.package.get("kind") != KIND:
            raise UserError(f"{folder} is not an encoder's package: its kind is {self.package.get('kind')!r}")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()  # a text that is too long is refused, not cut
        self.cutting = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.cutting.no_padding()
        self.context, self.vocab = int(self.package["context"]), int(self.package["vocab"])
        self.hidden = int(self.package["hidden"])
        self.labels: list[str] = list(self.package["labels"])
        self._pad = int(self.package["pad"])
        self.cutting.enable_truncation(self.context)
        self._session = open_session(folder / MODEL, threads)

    def width(self, tokens: int) -> int:
        """The tokens that a text of so many is padded to."""
        return min(self.context, -(-tokens // STEP) * STEP)

    def encode(self, batch: Sequence[Sequence[int]]) -> Encoded:
        """Token ids of texts, special tokens included, any lengths from 1 to `context`. ValueError for others."""
        lengths = [len(ids) for ids in batch]
        if not lengths or min(lengths) < 1 or max(lengths) > self.context:
            raise ValueError(f"texts must have 1 to {self.context} tokens; they have {sorted(lengths)}")
        ids = np.full((len(batch), self.width(max(lengths))), self._pad, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(batch):
            ids[row, : len(text)] = text
            mask[row, : len(text)] = 1
        found = self._session.run(None, {"input_ids": ids, "attention_mask": mask})
        if not self.labels:
            return Encoded(found[0], None)
        embeddings, logits = found
        return Encoded(embeddings, _sigmoid(logits) if self.package["activation"] == "sigmoid" else _softmax(logits))


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + np.tanh(logits / 2))  # the form that cannot overflow
