"""The `training.mixing` section of a recipe: how examples are mixed inside the training step."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from llm_assets.config import Section


class MixUp(Section):
    """Input embeddings and losses of two examples, mixed by lambda (Zhang et al. 2018; of words: Guo et al. 2019)."""

    kind: Literal["mixup"]
    alpha: float = Field(0.2, gt=0, description="lambda is drawn from Beta(alpha, alpha)")


class EmbeddingCutMix(Section):
    """A span of the prompt's embeddings from another example, losses mixed by its length (Yun et al. 2019)."""

    kind: Literal["cutmix"]
    alpha: float = Field(1.0, gt=0, description="the share kept is drawn from Beta(alpha, alpha)")


Mixing = Annotated[MixUp | EmbeddingCutMix, Field(discriminator="kind")]
