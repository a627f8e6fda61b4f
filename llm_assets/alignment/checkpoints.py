"""Hugging Face folders in and out, without bars in the terminal and without anything that differs between
runs.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bar, no notice of transformers and datasets within the block; their settings are put
    back.
    """
    import datasets
    from transformers.utils import logging

    bars, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    dataset_bars = datasets.are_progress_bars_disabled()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if not dataset_bars:
            datasets.enable_progress_bars()


def load_model(folder: Path, **settings: Any) -> PreTrainedModel:
    """The checkpoint's causal LM in fp32, ready for evaluation."""
    from transformers import AutoModelForCausalLM

    with quiet():
        return AutoModelForCausalLM.from_pretrained(folder, dtype="float32", **settings).eval()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast.from_pretrained(folder)


def save_checkpoint(model: PreTrainedModel, tokenizer_from: Path, out: Path) -> None:
    """Weights and configuration of `model`, and the tokenizer files of `tokenizer_from`, unchanged."""
    import shutil

    with quiet():
        model.save_pretrained(out)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        if (tokenizer_from / name).is_file():
            shutil.copyfile(tokenizer_from / name, out / name)
