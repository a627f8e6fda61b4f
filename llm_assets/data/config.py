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


class ColumnPolicy(Section):
    """The standard form of one column of a table, and what becomes of what is missing or unreadable."""

    column: str
    kind: Literal["text", "label", "number", "date"] = Field(
        description="text: Unicode NFC, single spaces; label: text with near-equal spellings merged; number: digits "
        "with a decimal point; date: ISO 8601"
    )
    labels: LabelsConfig = LabelsConfig(merge="fingerprint")
    order: Literal["evidence", "day_first", "month_first", "year_first"] = Field(
        default="evidence",
        description="how 01/02/2003 is read; evidence: as the dates of the column that can be read in one way only",
    )
    decimal: Literal["evidence", "point", "comma"] = Field(
        default="evidence",
        description="how 1,234 is read; evidence: as the numbers of the column that can be read in one way only",
    )
    min_evidence: int = Field(
        default=3, ge=1, description="values that must speak for an order or a decimal sign, none against"
    )
    pivot: int = Field(default=50, ge=0, le=100, description="two-digit years below are 20xx, others 19xx")
    unreadable: Literal["keep", "blank", "reject"] = Field(
        default="keep", description="what becomes of a value that has no standard form, or more than one"
    )
    missing: Literal["keep", "drop", "constant", "mode", "median", "fill_down"] = Field(
        default="keep", description="what becomes of a missing value; drop rejects the row"
    )
    constant: str | None = Field(default=None, description="what `missing: constant` puts")
    missing_texts: list[str] = Field(
        default=["", "na", "n/a", "nan", "null", "none", "nil", "-", "--", "?", "unknown"],
        description="texts that count as missing, in any case",
    )

    @model_validator(mode="after")
    def _consistent(self) -> ColumnPolicy:
        if (self.missing == "constant") != (self.constant is not None):
            raise ValueError("`constant` goes with `missing: constant`, and only with it")
        if self.missing == "median" and self.kind != "number":
            raise ValueError("`missing: median` needs `kind: number`")
        return self


class LinkageConfig(Section):
    """Records of the same thing found without training data."""

    columns: list[str] = Field(default=[], description="columns that are compared; none: all of them")
    threshold: float = Field(
        default=0.65, gt=0, le=1, description="weighted likeness of the fields from which two records are one"
    )
    max_block: int = Field(
        default=50,
        ge=2,
        description="rows that may share a value for it to propose pairs; commoner values propose none",
    )


class RepairConfig(Section):
    """Errors in the cells of a table, repaired by what its other rows say."""

    min_accuracy: float = Field(
        default=0.9, gt=0.5, le=1, description="share of rows in which a dependency between columns must hold"
    )
    min_reached: float = Field(
        default=0.5, gt=0, le=1, description="share of rows that share a dependency's group with another row"
    )
    max_error_left: float = Field(
        default=0.75,
        gt=0,
        lt=1,
        description="share of the errors of the simpler guess (the most frequent value; one column) that may remain",
    )
    max_second_values: int = Field(
        default=64, ge=2, description="distinct values that the second column of a dependency has at most"
    )
    min_votes: int = Field(default=2, ge=1, description="other rows that a group needs to vote")
    min_support: float = Field(
        default=0.6, gt=0.5, le=1, description="mean share of the votes from which a value replaces another"
    )
    min_similarity: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="likeness (1 - edits / length) to a column's usual value that a repair by nothing else needs",
    )
    min_frequent: int = Field(default=10, ge=2, description="rows from which a value counts as frequent (spelling)")
    max_rare: int = Field(default=2, ge=1, description="rows up to which a value may be a misspelling")
    min_length: int = Field(default=3, ge=2, description="shorter values are not respelled")


class TableConfig(Section):
    """Steps over a table of one's own, in this order; each is left out when it is not given."""

    openrefine: str | None = Field(default=None, description="an OpenRefine history; it must keep each row one row")
    standardise: list[ColumnPolicy] = Field(default=[], description="one policy a column")
    repair: RepairConfig | None = None
    deduplicate: LinkageConfig | None = None


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
    table: TableConfig = Field(default=TableConfig(), description="what `llm-assets tidy-table` does to a table")
