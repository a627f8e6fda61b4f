"""The `data` section of a recipe."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from llm_assets.config import Section
from llm_assets.data.augment.config import AugmentConfig as AugmentConfig
from llm_assets.data.balance.config import Balance, Weights
from llm_assets.data.clean_config import (
    LabelErrorsConfig,
    PiiConfig,
    QualityConfig,
    RegexRule,
    SpellingConfig,
)
from llm_assets.data.sources.config import Feedback as Feedback
from llm_assets.data.sources.config import Files as Files
from llm_assets.data.sources.config import HuggingFace as HuggingFace
from llm_assets.data.sources.config import InstalledPackages as InstalledPackages
from llm_assets.data.sources.config import Source as Source
from llm_assets.data.sources.config import Sql as Sql
from llm_assets.data.sources.config import Web as Web
from llm_assets.data.table_config import LabelsConfig, TableConfig


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


class DecontaminateConfig(Section):
    """Training texts that hold an evaluation text are rejected (Brown et al. 2020, appendix C, with shares)."""

    enabled: bool = False
    against: list[Source] = Field(default=[], description="evaluation texts, written as in data.sources")
    own_splits: bool = Field(default=True, description="also against the validation, test and canary rows")
    ngram: int = Field(default=13, ge=2, le=50, description="words in an n-gram")
    threshold: float = Field(
        default=0.5, ge=0, le=1, description="rejected from this share of an evaluation text's n-grams; 0: from one"
    )

    @model_validator(mode="after")
    def _has_something(self) -> DecontaminateConfig:
        if self.enabled and not self.against and not self.own_splits:
            raise ValueError(
                "decontaminate has nothing to compare with: name sources in against, or turn own_splits on"
            )
        return self


class CleanConfig(Section):
    """Repair, rules and duplicates. The steps run in the order of these keys."""

    openrefine: str | None = Field(
        default=None,
        description="an operation history exported by OpenRefine (Undo / Redo, Extract), replayed over the raw "
        "documents first; a relative path starts at the project's folder",
    )
    repair: bool = Field(
        default=True, description="mend mojibake, entities, control and zero-width characters, line ends"
    )
    rules: list[RegexRule] = Field(default=[], description="patterns of one's own, in turn")
    markup: bool = Field(
        default=True, description="turn reStructuredText, Markdown, HTML and doctests into plain prose"
    )
    white_space: Literal["paragraphs", "lines", "keep"] = Field(
        default="paragraphs",
        description="one line a paragraph, or lines as they are; either way with single blanks",
    )
    mask_labels: bool = Field(
        default=False,
        description="remove from each text the name of its own label (and a library's usual aliases); for labels "
        "that would otherwise be read off the text",
    )
    spelling: SpellingConfig = SpellingConfig()
    pii: PiiConfig = PiiConfig()
    min_chars: int = Field(default=40, ge=1, description="shorter texts are rejected")
    max_chars: int = Field(default=20_000, ge=1, description="longer texts are rejected")
    language: LanguageConfig = LanguageConfig()
    quality: QualityConfig = QualityConfig()
    labels: LabelsConfig = LabelsConfig()
    near_duplicates: NearDuplicateConfig = NearDuplicateConfig()
    label_errors: LabelErrorsConfig = LabelErrorsConfig()
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    split: SplitConfig = SplitConfig()


class CardConfig(Section):
    """What the data card says that no measurement can tell."""

    intended_use: str = Field(default="", description="what the data is for, and what it is not for")


class DataConfig(Section):
    """From sources to a balanced train split."""

    sources: list[Source] = Field(min_length=1)
    clean: CleanConfig = CleanConfig()
    augment: AugmentConfig = AugmentConfig()
    balance: Balance = Weights()
    table: TableConfig = Field(default=TableConfig(), description="what `llm-assets tidy-table` does to a table")
    card: CardConfig = CardConfig()
