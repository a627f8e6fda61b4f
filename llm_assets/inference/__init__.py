"""Answers from any model the graph makes: checkpoints through torch, packages through ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from llm_assets.artifacts import PACKAGE, Progress, no_progress
from llm_assets.errors import UserError
from llm_assets.inference.setup import torch_setup

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Generator", "load_generator", "torch_setup"]


class Generator(Protocol):
    """A model that answers prompts (rendered chat texts), greedily."""

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        progress: Progress = no_progress,
        batch_size: int = 64,
    ) -> list[str]:
        """One answer a prompt, without the closing <|end|>; at most `max_new_tokens` tokens each."""
        ...

    def answer_loss(self, prompts: Sequence[str], answers: Sequence[str], batch_size: int = 64) -> np.ndarray:
        """Mean negative log-likelihood (nats) of each answer's tokens, <|end|> included; float64 [n]."""
        ...


def load_generator(folder: Path, threads: int = 2) -> Generator:
    """The generator of a package (a folder with `package.json`) or of a checkpoint (one with `config.json`)."""
    if (folder / PACKAGE).is_file():
        from llm_assets.inference.onnx_generator import OnnxGenerator

        return OnnxGenerator(folder, threads)
    if (folder / "config.json").is_file():
        from llm_assets.inference.torch_generator import TorchGenerator

        return TorchGenerator(folder, threads)
    raise UserError(f"{folder} is no model: it has neither {PACKAGE} nor config.json; name a model's folder")
