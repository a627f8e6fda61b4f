"""The one training loop: transformers' `Trainer` on ready batches, one optimizer step each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from llm_assets.artifacts import Progress, no_progress
from llm_assets.inference.quiet import quiet
from llm_assets.models.config import OptimizerConfig
from llm_assets.models.optimizer import make_optimizer

if TYPE_CHECKING:
    import torch

Batch = Mapping[str, "torch.Tensor"]
Loss = Callable[[Any, Batch], "torch.Tensor"]


class Batches(Protocol):
    """All batches of a training, in order; a batch names its tensors, and `ids` (int64 [rows, width]) is one."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Batch: ...


@dataclass
class Curves:
    """What training looked like, by step from 1: mean loss since the last point, and the embedding's learning rate.

    tokens: all positions that went through the model, padding included; seconds: wall clock, not for artifacts.
    """

    loss: list[tuple[float, float]] = field(default_factory=list)
    rate: list[tuple[float, float]] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


def train_steps(
    model: Any,
    batches: Batches,
    loss: Loss,
    config: OptimizerConfig,
    seed: int,
    progress: Progress = no_progress,
    points: int = 60,
) -> Curves:
    """Train `model` in place, one step a batch, and leave it in evaluation mode.

    `points`: about how many points the curves get. Call `torch_setup` before building the model.
    """
    import torch
    from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

    steps = len(batches)
    every = max(1, steps // points)
    curves = Curves()

    class Report(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if logs and "loss" in logs:
                curves.loss.append((float(state.global_step), float(logs["loss"])))
                curves.rate.append((float(state.global_step), float(logs["learning_rate"])))

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            note = f"loss {curves.loss[-1][1]:.3f}" if curves.loss else ""
            progress(state.global_step, steps, note)

    class StepTrainer(Trainer):  # type: ignore[misc]
        def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **_: Any) -> Any:
            curves.tokens += inputs["ids"].numel()
            return loss(model, inputs)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    with tempfile.TemporaryDirectory(prefix="llm-assets-train-") as scratch, quiet():
        trainer = StepTrainer(
            model=model,
            args=TrainingArguments(
                output_dir=scratch,
                max_steps=steps,
                per_device_train_batch_size=1,
                use_cpu=not torch.cuda.is_available(),
                bf16=False,
                fp16=False,
                max_grad_norm=config.clip,
                seed=seed,
                logging_steps=every,
                logging_first_step=True,
                logging_nan_inf_filter=False,  # a diverged loss must reach the gate, not be averaged away
                disable_tqdm=True,
                report_to="none",
                save_strategy="no",
                eval_strategy="no",
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            ),
            train_dataset=batches,
            data_collator=lambda rows: rows[0],
            callbacks=[Report()],
            optimizers=make_optimizer(model, config, steps),
        )
        trainer.remove_callback(PrinterCallback)
        outcome = trainer.train()
    curves.seconds = float(outcome.metrics["train_runtime"])
    model.eval()
    return curves
