"""The recipe's `compression` section."""

from pydantic import Field

from llm_assets.config import Section


class TuningConfig(Section):
    """A short training of a smaller model beside its teacher."""

    rows: dict[str, int] = Field(
        {"route": 900, "summarise": 150}, description="task -> examples of the balanced train split"
    )
    epochs: int = Field(1, ge=1)
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(
        6e-4, gt=0, description="peak; warmed up over a tenth of the steps, then to 0"
    )
    temperature: float = Field(
        2.0, gt=0, description="of teacher and student when their distributions are compared"
    )
    teacher_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the teacher's distribution in the loss; the rest is the true answer's",
    )


class PruningConfig(Section):
    """Structured pruning of the MLPs, then recovery."""

    keep: float = Field(0.67, gt=0, le=1, description="share of each MLP's neurons that stays")
    multiple: int = Field(32, ge=1, description="the number of neurons is rounded to a multiple of this")
    calibration_rows: int = Field(128, ge=1, description="prompts on which activations are measured")
    recovery: TuningConfig = TuningConfig()


class DistillationConfig(Section):
    """A student with fewer layers."""

    layers: int = Field(1, ge=1, description="layers of the student; at most the teacher's")
    tuning: TuningConfig = TuningConfig(rows={"route": 1800, "summarise": 250}, learning_rate=1e-3)


class QuantizationConfig(Section):
    """Weight-only int8 (MatMulNBits), embedding included."""

    validation_rows: dict[str, int] = Field(
        {"route": 400, "summarise": 40}, description="task -> validation examples on which parity is measured"
    )


class CompressionGates(Section):
    min_size_ratio: float = Field(3.5, gt=0, description="fp32 bytes over int8 bytes, graph and weights")
    max_int8_drop: float = Field(
        0.01, ge=0, le=1, description="accuracy that int8 may lose against its parent"
    )
    min_agreement: float = Field(
        0.97, ge=0, le=1, description="routing decisions that int8 shares with its parent"
    )
    max_pruned_drop: float = Field(
        0.06, ge=0, le=1, description="accuracy that pruning may lose against its parent"
    )
    max_distilled_drop: float = Field(0.12, ge=0, le=1, description="accuracy that the student may lose")


class CompressionConfig(Section):
    validation_rows: dict[str, int] = Field(
        {"route": 300},
        description="task -> validation examples on which parent and smaller model are compared",
    )
    max_new_tokens: int = Field(
        32, ge=1, description="longest answer in tokens; of a label, the longest label"
    )
    pruning: PruningConfig = PruningConfig()
    distillation: DistillationConfig = DistillationConfig()
    quantization: QuantizationConfig = QuantizationConfig()
    gates: CompressionGates = CompressionGates()
