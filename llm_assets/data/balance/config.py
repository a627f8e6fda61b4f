"""The `data.balance` section of a recipe: one class a method."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from llm_assets.config import Section


class NoBalance(Section):
    """Every group keeps the share that nature gave it."""

    method: Literal["none"] = "none"


class Grouped(Section):
    """What all methods that balance share: which groups, and how far."""

    by: Literal["auto", "label", "topic"] = Field(
        default="auto",
        description="the groups: labels; topics found in the texts; auto: labels where any row has one, else topics",
    )
    max_topics: int = Field(default=12, ge=2, le=100, description="topics looked for at most")
    power: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="0 keeps the natural shares, 1 makes all groups equal; count^(1 - power) in between",
    )
    max_factor: float = Field(
        default=8.0, ge=1, description="no group's share against another's changes by more than this factor"
    )


class Weights(Grouped):
    """Cost-sensitive training: each row's weight multiplies its loss."""

    method: Literal["weights"] = "weights"
    scheme: Literal["inverse_frequency", "effective_number"] = Field(
        default="inverse_frequency",
        description="count^-power; or (1 - beta) / (1 - beta^count), the effective number of samples (Cui et al. 2019)",
    )
    power: float = Field(default=0.25, ge=0, le=1, description="of inverse_frequency: 0 keeps the natural shares")
    beta: float = Field(default=0.999, ge=0, lt=1, description="of effective_number: 0 keeps the natural shares")


class Oversample(Grouped):
    """Rows of rare groups are repeated; each repeat names its parent."""

    method: Literal["oversample"] = "oversample"


class Undersample(Grouped):
    """Rows of frequent groups are left out: those that a hash of their id and the seed puts last."""

    method: Literal["undersample"] = "undersample"


class Smote(Grouped):
    """SMOTE (Chawla et al. 2002) between the texts of a rare group, in their TF-IDF and SVD features.

    A synthetic point is no text: a row is made of the real texts nearest to it.
    """

    method: Literal["smote"] = "smote"
    rows: Literal["nearest_text", "span_mix"] = Field(
        default="nearest_text",
        description="the row of a synthetic point: its nearest real text of the group; or the nearest with a span of "
        "the second nearest in it, the nearer giving more words",
    )
    neighbours: int = Field(default=5, ge=1, le=50, description="neighbours of a row that SMOTE draws from")
    dimensions: int = Field(default=64, ge=2, le=512, description="of the features")


def _with_method(value: Any) -> Any:
    return {"method": "weights", **value} if isinstance(value, dict) else value


Balance = Annotated[
    NoBalance | Weights | Oversample | Undersample | Smote,
    Field(discriminator="method"),
    BeforeValidator(_with_method),
]
Balanced = Weights | Oversample | Undersample | Smote
