"""The cleaning steps' own sections of a recipe; `CleanConfig` in `config.py` puts them together."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from llm_assets.config import Section

PiiType = Literal["EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "IP", "SSN", "URL"]


class RegexRule(Section):
    """A rule of one's own, in the syntax of RE2: no look-around and no back-references, so its time is linear."""

    pattern: str = Field(min_length=1, description="RE2 pattern; `(?i)` in front ignores case")
    replacement: str | None = Field(
        default=None, description=r"what matches becomes this (`\1` is a group, an empty text removes)"
    )
    reject: str | None = Field(
        default=None, pattern=r"^[a-z][a-z0-9_]*$", description="a text that matches is rejected, with this as reason"
    )

    @model_validator(mode="after")
    def _compiles(self) -> RegexRule:
        import pyarrow as pa
        import pyarrow.compute as pc

        if (self.replacement is None) == (self.reject is None):
            raise ValueError(f"the rule for {self.pattern!r} needs a replacement or a reject, and not both")
        try:
            pc.replace_substring_regex(pa.array([""]), pattern=self.pattern, replacement=self.replacement or "")
        except pa.ArrowInvalid as error:
            raise ValueError(f"the pattern {self.pattern!r} is no RE2 pattern: {error}") from None
        return self


class GopherQualityConfig(Section):
    """Rae et al. 2021 (Gopher), section A1.1: words, symbols, bullets and stop words. Texts are English."""

    enabled: bool = False
    min_words: int = Field(default=50, ge=0, description="words, not counting those of punctuation only")
    max_words: int = Field(default=100_000, ge=1)
    min_word_length: float = Field(default=3, ge=0, description="mean characters of a word")
    max_word_length: float = Field(default=10, gt=0)
    max_symbols: float = Field(default=0.1, ge=0, description="hashes, or ellipses, a word")
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1, description="share of lines that start with a bullet")
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1, description="share of lines that end with an ellipsis")
    min_alphabetic: float = Field(default=0.8, ge=0, le=1, description="share of words with a letter")
    min_stop_words: int = Field(
        default=2, ge=0, le=8, description="different ones of the, be, to, of, and, that, have, with"
    )


class GopherRepetitionConfig(Section):
    """Rae et al. 2021 (Gopher), table A1: shares that repeated lines, paragraphs and n-grams may have."""

    enabled: bool = False
    lines: float = Field(default=0.30, ge=0, le=1, description="share of lines that repeat one before")
    paragraphs: float = Field(default=0.30, ge=0, le=1)
    line_characters: float = Field(default=0.20, ge=0, le=1, description="share of the characters in such lines")
    paragraph_characters: float = Field(default=0.20, ge=0, le=1)
    top_ngrams: dict[int, float] = Field(
        default={2: 0.20, 3: 0.18, 4: 0.16}, description="characters in the most frequent n-gram, by n"
    )
    repeated_ngrams: dict[int, float] = Field(
        default={5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10},
        description="characters in all n-grams that occurred before, by n",
    )

    @field_validator("top_ngrams", "repeated_ngrams")
    @classmethod
    def _sizes(cls, value: dict[int, float]) -> dict[int, float]:
        if wrong := [n for n in value if not 2 <= n <= 20]:
            raise ValueError(f"n-grams of {wrong[0]} words: 2 to 20 are allowed")
        return dict(sorted(value.items()))


class C4Config(Section):
    """Raffel et al. 2020 (C4), section 2.2: lines that are no sentences go, and pages without enough sentences."""

    enabled: bool = False
    terminal_punctuation: bool = Field(default=True, description="drop lines that do not end like a sentence")
    min_line_words: int = Field(default=3, ge=0, description="drop shorter lines")
    max_word_length: int = Field(default=1000, ge=1, description="drop lines with a longer word")
    min_sentences: int = Field(default=5, ge=0, description="sentences a text must have left")
    lorem_ipsum: bool = Field(default=True, description="reject texts with a line of filler text")
    curly_bracket: bool = Field(default=True, description="reject texts with a curly bracket, which prose has not")
    javascript: bool = Field(default=True, description="drop lines that speak of Javascript")
    policies: bool = Field(default=True, description="drop lines about cookies, terms of use, privacy policies")
    citations: bool = Field(default=True, description="remove marks such as [3] and [citation needed]")


class FineWebConfig(Section):
    """Penedo et al. 2024 (FineWeb), section 3.6: what the authors found to improve models beyond C4's rules."""

    enabled: bool = False
    min_punctuated_lines: float = Field(default=0.12, ge=0, le=1, description="share of lines that end a sentence")
    max_short_lines: float = Field(default=0.67, ge=0, le=1, description="share of lines of up to short_line")
    short_line: int = Field(default=30, ge=1, description="characters")
    max_repeated_characters: float = Field(default=0.01, ge=0, le=1, description="share in lines that occurred before")
    max_line_breaks: float = Field(default=0.3, ge=0, description="line breaks a word")


class QualityConfig(Section):
    """Published rules for web text; all off, since curated texts (docstrings, tickets, messages) break them rightly."""

    gopher_repetition: GopherRepetitionConfig = GopherRepetitionConfig()
    gopher_quality: GopherQualityConfig = GopherQualityConfig()
    c4: C4Config = C4Config()
    fineweb: FineWebConfig = FineWebConfig()


class PiiConfig(Section):
    """Personal data becomes its type in brackets, such as [EMAIL]; numbers with check digits only where these hold."""

    enabled: bool = False
    types: list[PiiType] = Field(
        default=["EMAIL", "PHONE", "CREDIT_CARD", "IBAN", "IP", "SSN"], min_length=1, description="what is looked for"
    )


class SpellingConfig(Section):
    """Words of no dictionary become the nearest word (SymSpell); English, and only what is written in lower case."""

    enabled: bool = False
    max_edits: int = Field(default=1, ge=1, le=2, description="edits (insert, delete, replace, swap) at most")
    min_length: int = Field(default=5, ge=3, description="shorter words are left as they are")
    keep: list[str] = Field(default=[], description="words that are right though no dictionary has them")


class LabelErrorsConfig(Section):
    """Labels that a cross-validated model contradicts with confidence (Northcutt et al. 2021, by cleanlab)."""

    enabled: bool = False
    action: Literal["report", "drop", "fix"] = Field(
        default="report",
        description="of train rows found: only counted and shown, rejected, or given the model's label",
    )
    folds: int = Field(default=5, ge=2, le=20)
    min_odds: float = Field(
        default=10,
        ge=1,
        description="count only those where the model gives its own label so many times the probability of the given "
        "one; lower finds more errors, and takes more hard texts for errors",
    )
