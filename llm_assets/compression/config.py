"""The recipe's `compression` section."""

from pydantic import Field

from llm_assets.config import Section
from llm_assets.models.config import OptimizerConfig


class TuningConfig(Section):
    """A short training of a smaller model beside its teacher."""

    steps: int = Field(60, ge=1, description="optimizer steps")
    batch_size: int = Field(32, ge=1)
    route_share: float = Field(0.85, gt=0, lt=1, description="share of the steps that are `route`")
    temperature: float = Field(2.0, gt=0, description="of teacher and student when their distributions are compared")
    teacher_weight: float = Field(
        0.5, ge=0, le=1, description="share of the teacher's distribution in the loss; the rest is the true answer's"
    )
    optimizer: OptimizerConfig = OptimizerConfig(embedding_rate=1e-3, hidden_rate=5e-4, muon_rate=0.004)


class PruningConfig(Section):
    """Structured pruning of the MLPs, then recovery."""

    keep: float = Field(0.67, gt=0, le=1, description="share of each MLP's neurons that stays")
    multiple: int = Field(32, ge=1, description="the number of neurons is rounded to a multiple of this")
    calibration_rows: int = Field(128, ge=1, description="prompts on which activations are measured")
    recovery: TuningConfig = TuningConfig()


class DistillationConfig(Section):
    """A shallower and narrower student."""

    depth: float = Field(0.5, gt=0, le=1, description="share of the teacher's layers that the student has")
    width: float = Field(0.75, gt=0, le=1, description="share of the teacher's hidden size that the student has")
    multiple: int = Field(32, ge=1, description="the hidden size is rounded to a multiple of this")
    calibration_rows: int = Field(128, ge=1, description="prompts on which hidden sizes are ranked")
    tuning: TuningConfig = TuningConfig(
        steps=120, optimizer=OptimizerConfig(embedding_rate=3e-3, hidden_rate=1e-3, muon_rate=0.01)
    )


class QuantizationConfig(Section):
    """Weight-only int8 (MatMulNBits), embedding included."""

    validation_rows: dict[str, int] = Field(
        {"route": 400, "summarise": 40}, description="task -> validation examples on which parity is measured"
    )


class CompressionGates(Section):
    min_size_ratio: float = Field(3.5, gt=0, description="fp32 bytes over int8 bytes, graph and weights")
    max_int8_drop: float = Field(0.01, ge=0, le=1, description="accuracy that int8 may lose against its parent")
    min_agreement: float = Field(0.97, ge=0, le=1, description="routing decisions that int8 shares with its parent")
    max_pruned_drop: float = Field(0.06, ge=0, le=1, description="accuracy that pruning may lose against its parent")
    max_distilled_drop: float = Field(0.12, ge=0, le=1, description="accuracy that the student may lose")


class CompressionConfig(Section):
    validation_rows: dict[str, int] = Field(
        {"route": 300},
        description="task -> validation examples on which parent and smaller model are compared",
    )
    max_new_tokens: int = Field(32, ge=1, description="longest answer in tokens; of a label, the longest label")
    pruning: PruningConfig = PruningConfig()
    distillation: DistillationConfig = DistillationConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    gates: CompressionGates = CompressionGates()
