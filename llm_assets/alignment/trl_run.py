"""What every TRL trainer here is run with: fp32, no checkpoint, no bar and no log line in the terminal."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from llm_assets.artifacts import Progress
from llm_assets.inference.quiet import quiet as quiet_transformers

if TYPE_CHECKING:
    from transformers import Trainer


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No bar, no notice of transformers, datasets and trl within the block; their settings are put back."""
    import datasets

    bars = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        with quiet_transformers(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the libraries' notices to each other
            yield
    finally:
        if bars:
            datasets.enable_progress_bars()


def trainer_arguments(
    folder: str, epochs: int, batch_size: int, learning_rate: float, rows: int, seed: int
) -> dict[str, Any]:
    """Keyword arguments for a TRL config. TRL's own defaults are bf16 and gradient checkpointing, even on a
    CPU.
    """
    import torch

    gpu = torch.cuda.is_available()
    steps = epochs * -(-rows // batch_size)
    return {
        "output_dir": folder,
        "num_train_epochs": epochs,
        "per_device_train_batch_size": batch_size,
        "per_device_eval_batch_size": 2 * batch_size,
        "learning_rate": learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": max(1, steps // 10),
        "bf16": gpu,
        "use_cpu": not gpu,
        "gradient_checkpointing": False,
        "logging_steps": max(1, steps // 40),
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "log_level": "error",
        "dataloader_pin_memory": False,
        "seed": seed,
        "data_seed": seed,
    }


def train(
    trainer: Trainer, progress: Progress, note: str, wanted: Sequence[str]
) -> dict[str, list[tuple[float, float]]]:
    """Run `trainer`; the curves (step, value) of the logged names in `wanted`."""
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
    from transformers.trainer_callback import PrinterCallback, ProgressCallback

    class Report(TrainerCallback):
        def on_step_end(
            self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
        ) -> None:
            progress(state.global_step, state.max_steps, note)

    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Report())
    trainer.train()
    return {
        name: [(float(entry["step"]), float(entry[name])) for entry in trainer.state.log_history if name in entry]
        for name in wanted
    }
