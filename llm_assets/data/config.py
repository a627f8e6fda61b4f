"""The `data` section of a recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from llm_assets.config import Section

Operation = Literal["synonym", "insert", "swap", "delete"]


class InstalledPackages(Section):
    """Docstrings of packages installed beside the project, read without importing them; the label is the package."""

    kind: Literal["installed_packages"] = "installed_packages"
    packages: list[str] = Field(
        description="import names (`sklearn`, not `scikit-learn`); `stdlib` is the standard library"
    )
    max_per_package: int = Field(
        default=4000, ge=1, description="docstrings a package at most, from files drawn by the hash of their path"
    )


class Files(Section):
    """Texts of one's own. The format goes by suffix: .jsonl .csv .parquet .txt, each but Parquet also with .gz."""

    kind: Literal["files"] = "files"
    paths: list[str] = Field(min_length=1, description="files or globs; a relative one starts at the project's folder")
    text_column: str = Field(default="text", description="column with the text (.txt: one text a line, no columns)")
    label_column: str | None = Field(default=None, description="column with the class; none for unlabelled text")
    split: Literal["train", "validation", "test", "canary"] | None = Field(
        default=None, description="put all rows into this split; by default each goes by the hash of its id"
    )
    licence: str = Field(default="unknown", description="the licence of these texts, kept with each row")


class Feedback(Section):
    """People's corrections that were accepted as training data; an absent file is no rows."""

    kind: Literal["feedback"] = "feedback"
    path: str = Field(default="feedback/accepted.jsonl", description="under the state folder, unless absolute")


Source = Annotated[InstalledPackages | Files | Feedback, Field(discriminator="kind")]


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


class LabelsConfig(Section):
    """Near-equal spellings of labels."""

    merge: Literal["none", "fingerprint", "levenshtein"] = Field(
        default="none",
        description="fingerprint: labels equal up to case, accents, punctuation and order of words become the most "
        "frequent spelling; levenshtein: labels a few edits apart too, never where a digit differs",
    )
    radius: int = Field(default=1, ge=1, le=3, description="edits between two spellings of one label (levenshtein)")


class CleanConfig(Section):
    """Repair, rules and duplicates."""

    openrefine: str | None = Field(
        default=None,
        description="an operation history exported by OpenRefine (Undo / Redo, Extract), replayed over the raw "
        "documents before the rules; a relative path starts at the project's folder",
    )
    labels: LabelsConfig = LabelsConfig()

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


class DataConfig(Section):
    """From sources to a balanced train split."""

    sources: list[Source] = Field(min_length=1)
    clean: CleanConfig = CleanConfig()
    augment: AugmentConfig = AugmentConfig()
    balance: BalanceConfig = BalanceConfig()
