"""The `data` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from llm_assets.config import Section
from llm_assets.data.sources.config import Feedback as Feedback
from llm_assets.data.sources.config import Files as Files
from llm_assets.data.sources.config import HuggingFace as HuggingFace
from llm_assets.data.sources.config import InstalledPackages as InstalledPackages
from llm_assets.data.sources.config import Source as Source
from llm_assets.data.sources.config import Sql as Sql
from llm_assets.data.sources.config import Web as Web

Operation = Literal["synonym", "insert", "swap", "delete"]


class LanguageConfig(Section):
    """Which languages stay."""

    enabled: bool = True
    allowed: list[str] = Field(default=["en"], min_length=1, description="ISO 639-1 codes")
    min_confidence: float = Field(
        default=0.9, ge=0, le=1, description="a text is rejected only when another language is at least this probable"
    )


class NearDuplicateConfig(Section):
    """MinHash proposes pairs, the exact Jaccard similarity of their word shingles decides."""

    enabled: bool = True
    threshold: float = Field(default=0.8, gt=0, le=1, description="Jaccard similarity from which two texts are one")
    num_perm: int = Field(default=128, ge=16, le=1024, description="length of a MinHash signature")
    shingle: int = Field(default=3, ge=1, le=10, description="words in a shingle")
    same_start: int = Field(
        default=240,
        ge=0,
        description="texts whose first so many letters and digits agree are one: a model reads no further. 0: off",
    )


class SplitConfig(Section):
    """Shares of the splits; a row's split goes by the hash of its id and so stays when others come or go."""

    train: float = Field(default=0.80, gt=0, lt=1)
    validation: float = Field(default=0.08, gt=0, lt=1)
    test: float = Field(default=0.10, gt=0, lt=1)
    canary: float = Field(default=0.02, gt=0, lt=1, description="fixed probes that monitor the endpoint")

    @model_validator(mode="after")
    def _sum_to_one(self) -> SplitConfig:
        total = self.train + self.validation + self.test + self.canary
        if abs(total - 1) > 1e-6:
            raise ValueError(f"train + validation + test + canary must be 1, they are {total:g}")
        return self


class CleanConfig(Section):
    """Repair, rules and duplicates."""

    markup: bool = Field(
        default=True, description="turn reStructuredText, Markdown, HTML and doctests into plain prose"
    )
    min_chars: int = Field(default=40, ge=1, description="shorter texts are rejected")
    max_chars: int = Field(default=20_000, ge=1, description="longer texts are rejected")
    language: LanguageConfig = LanguageConfig()
    near_duplicates: NearDuplicateConfig = NearDuplicateConfig()
    mask_labels: bool = Field(
        default=False,
        description="remove from each text the name of its own label (and a library's usual aliases); for labels "
        "that would otherwise be read off the text",
    )
    split: SplitConfig = SplitConfig()


class AugmentConfig(Section):
    """Easy data augmentation (Wei and Zou 2019) of the train split."""

    operations: list[Operation] = Field(default=["synonym", "insert", "swap", "delete"], description="applied in turn")
    alpha: float = Field(default=0.1, ge=0, le=0.5, description="share of a text's words that an operation changes")
    share: float = Field(default=0.15, ge=0, le=1, description="share of the train rows that get augmented copies")
    copies: int = Field(default=1, ge=1, le=16, description="augmented copies of each such row")
    max_words: int = Field(default=120, ge=5, description="words of a text that an augmented copy keeps")


class BalanceConfig(Section):
    """How rare labels are given more say."""

    method: Literal["none", "oversample", "weights"] = Field(
        default="weights", description="weights reach the loss; oversample repeats rows of rare labels"
    )
    power: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="0 keeps the natural shares, 1 makes all labels equal; count^-power in between",
    )
    max_factor: float = Field(
        default=8.0, ge=1, description="no label counts more than this many times its natural share"
    )


class CardConfig(Section):
    """What the data card says that no measurement can tell."""

    intended_use: str = Field(default="", description="what the data is for, and what it is not for")


class DataConfig(Section):
    """From sources to a balanced train split."""

    sources: list[Source] = Field(min_length=1)
    clean: CleanConfig = CleanConfig()
    augment: AugmentConfig = AugmentConfig()
    balance: BalanceConfig = BalanceConfig()
    card: CardConfig = CardConfig()
