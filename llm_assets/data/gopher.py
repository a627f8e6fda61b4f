"""Gopher's rules (Rae et al. 2021, section A1.1 and table A1) over a column of texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.cells import byte_counts, text_bytes
from llm_assets.data.checks import Check, first_broken
from llm_assets.data.clean_config import GopherQualityConfig, GopherRepetitionConfig
from llm_assets.data.lines import Lines, numbers
from llm_assets.data.repetition import shares_of_ngrams
from llm_assets.data.steps import Outcome, Step
from llm_assets.data.words import ALPHABETIC, SYMBOL, Words, words_of

if TYPE_CHECKING:
    import pyarrow as pa


def gopher_step(repetition: GopherRepetitionConfig, quality: GopherQualityConfig) -> Step:
    """Both rule sets of Gopher, as far as they are on: they look at the same words."""

    def run(batch: pa.RecordBatch) -> Outcome:
        words = words_of(batch["text"])
        checks = _repetition(batch["text"], words, repetition) if repetition.enabled else []
        return first_broken(checks + (_quality(batch["text"], words, quality) if quality.enabled else []))

    return Step("gopher", run)


def _quality(text: pa.Array, words: Words, config: GopherQualityConfig) -> list[Check]:
    import pyarrow.compute as pc

    count = np.maximum(words.counts, 1)
    plain = ~words.marked(SYMBOL)
    real = words.per_row(plain)
    length = words.per_row(words.lengths * plain) / np.maximum(real, 1)
    ellipses = _ellipses(text)
    lines = Lines(pc.split_pattern(pc.replace_substring_regex(text, r"\n\z", ""), "\n"))
    begun, ended = pc.utf8_ltrim_whitespace(lines.parts), pc.utf8_rtrim_whitespace(lines.parts)
    bullets = lines.per_row(pc.or_(pc.starts_with(begun, "•"), pc.starts_with(begun, "-"))) / lines.counts
    open_ends = lines.per_row(pc.or_(pc.ends_with(ended, "..."), pc.ends_with(ended, "…"))) / lines.counts
    alphabetic = words.per_row(words.marked(ALPHABETIC)) / count
    stops = words.stop_words()
    hashes = byte_counts(text, ord("#"))
    return [
        ("gopher_few_words", real < config.min_words, real, config.min_words),
        ("gopher_many_words", real > config.max_words, real, config.max_words),
        ("gopher_short_words", length < config.min_word_length, length, config.min_word_length),
        ("gopher_long_words", length > config.max_word_length, length, config.max_word_length),
        ("gopher_hashes", hashes / count > config.max_symbols, hashes / count, config.max_symbols),
        ("gopher_ellipses", ellipses / count > config.max_symbols, ellipses / count, config.max_symbols),
        ("gopher_bullet_lines", bullets > config.max_bullet_lines, bullets, config.max_bullet_lines),
        ("gopher_ellipsis_lines", open_ends > config.max_ellipsis_lines, open_ends, config.max_ellipsis_lines),
        ("gopher_few_letters", alphabetic < config.min_alphabetic, alphabetic, config.min_alphabetic),
        ("gopher_few_stop_words", stops < config.min_stop_words, stops, config.min_stop_words),
    ]


def _ellipses(text: pa.Array) -> np.ndarray:
    """Three dots in a row, or as one character, in each text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    data, rows = text_bytes(text)
    dot = data == ord(".")
    three = np.searchsorted(np.flatnonzero(dot[2:] & dot[1:-1] & dot[:-2]), rows)
    some = (np.diff(three) > 0) | (byte_counts(text, "…".encode()[-1]) > 0)  # or nothing of the kind
    found = np.zeros(len(text), dtype=np.int64)
    chosen = text.filter(pa.array(some))
    found[some] = numbers(pc.add(pc.count_substring(chosen, "..."), pc.count_substring(chosen, "…")))
    return found


def _repetition(text: pa.Array, words: Words, config: GopherRepetitionConfig) -> list[Check]:
    import pyarrow.compute as pc

    characters = np.maximum(numbers(pc.utf8_length(text)), 1)
    checks: list[Check] = []
    trimmed = pc.utf8_trim_whitespace(text)
    parts = (
        (
            "paragraph",
            Lines(pc.split_pattern_regex(trimmed, "\n\n+")),
            config.paragraphs,
            config.paragraph_characters,
        ),
        ("line", Lines(pc.split_pattern_regex(text, r"\n+")), config.lines, config.line_characters),
    )
    for name, lines, most, most_characters in parts:
        again = lines.repeats()
        share = lines.per_row(again) / lines.counts
        covered = lines.per_row(numbers(pc.utf8_length(lines.parts)) * again) / characters
        checks.append((f"gopher_repeated_{name}s", share > most, share, most))
        checks.append((f"gopher_repeated_{name}_characters", covered > most_characters, covered, most_characters))
    tops, repeated = shares_of_ngrams(words, config.top_ngrams, config.repeated_ngrams, characters)
    for size, limit in config.top_ngrams.items():
        checks.append((f"gopher_top_{size}_gram", tops[size] > limit, tops[size], limit))
    for size, limit in config.repeated_ngrams.items():
        checks.append((f"gopher_repeated_{size}_grams", repeated[size] > limit, repeated[size], limit))
    return checks
