"""The `training` section of a recipe."""

from __future__ import annotations

from pydantic import Field

from llm_assets.config import Section
from llm_assets.models.config import OptimizerConfig
from llm_assets.training.mixing_config import Mixing


class TrainingGates(Section):
    """Floors of the fine-tuned model's gate."""

    min_accuracy: float = Field(
        0.0, ge=0, le=1, description="routing accuracy on validation rows; below it nothing goes on"
    )
    max_regression: float = Field(0.03, ge=0, le=1, description="accuracy that may be lost against the version on main")


class TrainingConfig(Section):
    """Fine-tuning on instructions, loss on the answers only."""

    steps: int = Field(
        700, ge=1, description="optimizer steps; training goes by steps, so equal inputs give equal weights"
    )
    batch_size: int = Field(64, ge=1, description="examples a step, all of one task")
    route_share: float = Field(
        0.85, gt=0, lt=1, description="share of the steps that are `route` where there are both tasks"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    mixing: Mixing | None = Field(None, description="`kind: mixup` or `kind: cutmix` of input embeddings; none: off")
    optimizer: OptimizerConfig = OptimizerConfig()
    validation_rows: int = Field(600, ge=10, description="validation rows of each task that measure the result")
    route_tokens: int = Field(12, ge=1, le=64, description="tokens of an answer to `route` at most")
    gates: TrainingGates = TrainingGates()
