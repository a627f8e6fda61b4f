"""The recipe's sections for tables: spellings of labels, standard forms, repairs, duplicate records."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from llm_assets.config import Section


class LabelsConfig(Section):
    """Near-equal spellings of labels."""

    merge: Literal["none", "fingerprint", "levenshtein"] = Field(
        default="none",
        description="fingerprint: labels equal up to case, accents, punctuation and order of words become the most "
        "frequent spelling; levenshtein: those a few edits apart too (of 20,000 at most), never where a digit differs",
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
