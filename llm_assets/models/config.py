"""The `models` section of a recipe, and the optimizer's settings that training shares."""

from __future__ import annotations

from pydantic import Field, model_validator

from llm_assets.config import Section


class OptimizerConfig(Section):
    """AdamW, with Muon for the hidden matrices, a linear warm-up and a linear decay to zero."""

    embedding_rate: float = Field(1e-2, gt=0, description="AdamW's peak learning rate of the embedding")
    hidden_rate: float = Field(3e-3, gt=0, description="AdamW's peak rate of norms, and of matrices without Muon")
    muon_rate: float = Field(0.02, ge=0, description="Muon's peak rate of the hidden matrices; 0: AdamW for them too")
    weight_decay: float = Field(0.0, ge=0, description="decoupled, of matrices (not of norms)")
    warmup: float = Field(0.05, ge=0, lt=1, description="share of the steps in which the rate rises")
    clip: float = Field(1.0, gt=0, description="largest norm of the gradient")


class TokenizerConfig(Section):
    """Byte-level BPE, trained on the train split."""

    vocab_size: int = Field(8192, ge=300, le=200_000)
    min_frequency: int = Field(2, ge=1, description="a pair seen less often is not merged")
    max_chars: int = Field(600, ge=40, description="characters of each document it learns from")


class ShapeConfig(Section):
    """One candidate shape of a Llama decoder with tied embeddings."""

    name: str
    layers: int = Field(ge=1)
    hidden: int = Field(ge=32)
    feed_forward: int = Field(ge=32)
    heads: int = Field(ge=1)
    kv_heads: int = Field(ge=1)

    @model_validator(mode="after")
    def _divides(self) -> ShapeConfig:
        if self.hidden % self.heads or self.heads % self.kv_heads or (self.hidden // self.heads) % 2:
            raise ValueError("hidden must be heads x an even number, and heads a multiple of kv_heads")
        return self


class SearchConfig(Section):
    """How the candidate shapes are compared: each trains on the same tokens in the same order."""

    tokens: int = Field(60_000, ge=1_000, description="training tokens per candidate")
    validation_tokens: int = Field(16_000, ge=500)


class PretrainConfig(Section):
    """Causal language modelling on packed sequences of the train split's texts."""

    steps: int = Field(200, ge=1)
    batch_size: int = Field(16, ge=1, description="sequences a step")
    length: int = Field(128, ge=8, description="tokens a sequence")
    loss_share: float = Field(
        0.25,
        gt=0,
        le=1,
        description="share of the positions, drawn anew each step, whose next token enters the loss: an unbiased "
        "estimate that saves most of the LM head's cost, which is nearly all of a small model's",
    )
    validation_tokens: int = Field(30_000, ge=500)
    optimizer: OptimizerConfig = OptimizerConfig()


class ModelGates(Section):
    """Floors of the models' gates."""

    max_perplexity: float = Field(3_000.0, gt=1, description="of the pre-trained model on validation text")


class ModelsConfig(Section):
    """Tokenizer, candidate shapes and pre-training."""

    context: int = Field(256, ge=32, le=8192, description="longest sequence, prompt and answer together")
    tokenizer: TokenizerConfig = TokenizerConfig()
    shapes: list[ShapeConfig] = Field(
        [
            ShapeConfig(name="wide", layers=1, hidden=128, feed_forward=128, heads=2, kv_heads=2),
            ShapeConfig(name="deep", layers=2, hidden=64, feed_forward=128, heads=2, kv_heads=2),
        ],
        min_length=1,
    )
    search: SearchConfig = SearchConfig()
    pretrain: PretrainConfig = PretrainConfig()
    gates: ModelGates = ModelGates()
