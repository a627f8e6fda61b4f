"""The recipe's `evaluation` section."""

from typing import Literal

from pydantic import Field

from llm_assets.config import Section


class BaselineConfig(Section):
    """TF-IDF and logistic regression, trained on the same documents as the models, in full length."""

    max_features: int = Field(60_000, ge=100, description="words and pairs of words that are kept, by frequency")
    min_documents: int = Field(2, ge=1, description="documents a word or pair must occur in")
    strength: float = Field(10.0, gt=0, description="inverse regularisation (C of scikit-learn)")
    max_rows: int = Field(40_000, ge=100, description="training documents, drawn by the seed")


class ReleaseConfig(Section):
    """Which variant is shipped, and how."""

    tolerance: float = Field(
        0.01,
        ge=0,
        le=1,
        description="validation accuracy that a smaller package may lack against the best variant",
    )
    precision: Literal["int8", "int4", "fp32"] = Field("int8", description="of an exported package")
    verify_tolerance: float = Field(
        0.01, ge=0, le=1, description="validation accuracy that the package may lose against its variant"
    )
    checkpoint: bool = Field(
        False,
        description="whether the package holds the checkpoint too, for serving.backend.vllm; variants without one "
        "are then passed over",
    )
    canaries: int = Field(60, ge=1, description="documents of the canary split that probe the live endpoint")


class EvaluationGates(Section):
    min_accuracy: float = Field(0.80, ge=0, le=1, description="routing by the fine-tuned model, on the test split")
    max_int8_drop: float = Field(0.01, ge=0, le=1, description="int8 against its parent, on the test split")


class EvaluationConfig(Section):
    test_rows: dict[str, int] = Field(
        {"route": 1500, "summarise": 120}, description="task -> test documents, the same for all variants"
    )
    validation_rows: int = Field(500, ge=1, description="validation documents by whose routing a variant is chosen")
    perplexity_rows: int = Field(150, ge=1, description="test examples whose answers' likelihood is measured")
    latency_requests: int = Field(24, ge=1, description="single requests that are timed")
    max_new_tokens: int = Field(32, ge=1, description="longest answer in tokens; of a label, the longest label")
    baseline: BaselineConfig = BaselineConfig()
    release: ReleaseConfig = ReleaseConfig()
    gates: EvaluationGates = EvaluationGates()
