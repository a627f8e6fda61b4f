"""Published quality rules for web text: Gopher, C4 and FineWeb, over columns of texts.

Each rule has a name, which is the reason of what it rejects. Where the papers leave a detail open it is as in
datatrove, the tool FineWeb was made with: words as treebanks split them, lines as they are in the text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.clean_config import (
    C4Config,
    FineWebConfig,
    GopherQualityConfig,
    GopherRepetitionConfig,
    QualityConfig,
)
from llm_assets.data.repetition import repeated_share, top_share
from llm_assets.data.steps import Outcome, Step
from llm_assets.data.words import ALPHABETIC, SYMBOL, TERMINALS, Words, words_of

if TYPE_CHECKING:
    import pyarrow as pa

Check = tuple[str, np.ndarray, np.ndarray, float]  # rule, rows that break it, value by row, limit

CITATION = r"\[\d*\]|\[edit\]|\[citation needed\]"
POLICIES = (
    r"(?i)terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"  # of C4's published code
)


class Lines:
    """The parts of each text between separators: `parts` in a row, `offsets` int64 [rows + 1]."""

    def __init__(self, lists: pa.Array) -> None:
        import pyarrow.compute as pc

        self.parts = pc.list_flatten(lists)
        self.offsets = np.concatenate([[0], np.cumsum(pc.list_value_length(lists).to_numpy(zero_copy_only=False))])

    @property
    def counts(self) -> np.ndarray:
        return np.diff(self.offsets)

    def rows(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.counts)), self.counts)

    def per_row(self, values: pa.Array | np.ndarray) -> np.ndarray:
        """Sums of a value a part, by row: float64 [rows]."""
        return np.bincount(self.rows(), weights=_numbers(values), minlength=len(self.counts))

    def where(self, mask: np.ndarray) -> Lines:
        """Only the parts of a mask."""
        import pyarrow as pa

        chosen = object.__new__(Lines)
        chosen.parts = self.parts.filter(pa.array(mask))
        chosen.offsets = np.concatenate([[0], np.cumsum(self.per_row(mask).astype(np.int64))])
        return chosen

    def repeats(self) -> np.ndarray:
        """Which parts occurred before in their row."""
        codes = self.parts.dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
        keys = self.rows() * (len(self.parts) + 1) + codes
        order = np.argsort(keys, kind="stable")
        again = np.zeros(len(keys), dtype=bool)
        again[order[1:]] = keys[order][1:] == keys[order][:-1]
        return again


def quality_steps(config: QualityConfig) -> list[Step]:
    """The steps a recipe asks for, in the order in which FineWeb applies them."""
    steps = []
    if config.gopher_repetition.enabled or config.gopher_quality.enabled:
        steps.append(gopher_step(config.gopher_repetition, config.gopher_quality))
    if config.c4.enabled:
        steps.append(c4_step(config.c4))
    if config.fineweb.enabled:
        steps.append(fineweb_step(config.fineweb))
    return steps


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
    ellipses = _numbers(pc.add(pc.count_substring(text, "..."), pc.count_substring(text, "…")))
    lines = Lines(pc.split_pattern(pc.replace_substring_regex(text, r"\n\z", ""), "\n"))
    begun, ended = pc.utf8_ltrim_whitespace(lines.parts), pc.utf8_rtrim_whitespace(lines.parts)
    bullets = lines.per_row(pc.or_(pc.starts_with(begun, "•"), pc.starts_with(begun, "-"))) / lines.counts
    open_ends = lines.per_row(pc.or_(pc.ends_with(ended, "..."), pc.ends_with(ended, "…"))) / lines.counts
    alphabetic = words.per_row(words.marked(ALPHABETIC)) / count
    stops = words.stop_words()
    hashes = _numbers(pc.count_substring(text, "#"))
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


def _repetition(text: pa.Array, words: Words, config: GopherRepetitionConfig) -> list[Check]:
    import pyarrow.compute as pc

    characters = np.maximum(_numbers(pc.utf8_length(text)), 1)
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
        covered = lines.per_row(_numbers(pc.utf8_length(lines.parts)) * again) / characters
        checks.append((f"gopher_repeated_{name}s", share > most, share, most))
        checks.append((f"gopher_repeated_{name}_characters", covered > most_characters, covered, most_characters))
    for size, share in top_share(words, config.top_ngrams, characters).items():
        limit = config.top_ngrams[size]
        checks.append((f"gopher_top_{size}_gram", share > limit, share, limit))
    for size, share in repeated_share(words, config.repeated_ngrams, characters).items():
        limit = config.repeated_ngrams[size]
        checks.append((f"gopher_repeated_{size}_grams", share > limit, share, limit))
    return checks


def c4_step(config: C4Config) -> Step:
    """Drops lines, so it changes the texts that stay."""

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        all_lines = Lines(pc.split_pattern(pc.replace_substring_regex(batch["text"], r"\n\z", ""), "\n"))
        line = pc.utf8_trim_whitespace(all_lines.parts)
        words = Lines(pc.utf8_split_whitespace(line))
        stays = np.ones(len(line), dtype=bool)
        lengths = _numbers(pc.utf8_length(words.parts))
        stays &= words.per_row(lengths > config.max_word_length) == 0
        count = np.where(_numbers(pc.utf8_length(line)) > 0, words.counts, 0)
        if config.citations:
            line = pc.replace_substring_regex(line, CITATION, "")
        if config.terminal_punctuation:
            ending = pc.match_substring_regex(line, r"[.?!\"']\z")
            stays &= _mask(pc.and_not(ending, pc.ends_with(line, "...")))
        stays &= count >= config.min_line_words
        lorem = stays & _mask(pc.match_substring(line, "lorem ipsum", ignore_case=True)) & config.lorem_ipsum
        script = _mask(pc.match_substring(line, "javascript", ignore_case=True)) & config.javascript
        curly = stays & ~script & _mask(pc.match_substring(line, "{")) & config.curly_bracket
        if config.policies:
            script |= _mask(pc.match_substring_regex(line, POLICIES))
        stays &= ~script
        all_lines.parts = line
        kept = all_lines.where(stays)
        # A line is a sentence at least, so words matter only where there are few lines.
        few = kept.counts < config.min_sentences
        unsure = kept.where(np.repeat(few, kept.counts))
        sentences = np.where(few, unsure.per_row(words_of(unsure.parts).sentences()), kept.counts)
        joined = pc.binary_join(pa.ListArray.from_arrays(pa.array(kept.offsets, pa.int32()), kept.parts), "\n")
        broken = first_broken(
            [
                ("c4_lorem_ipsum", all_lines.per_row(lorem) > 0, all_lines.per_row(lorem), 0),
                ("c4_curly_bracket", all_lines.per_row(curly) > 0, all_lines.per_row(curly), 0),
                ("c4_few_sentences", sentences < config.min_sentences, sentences, config.min_sentences),
            ]
        )
        return Outcome(pc.utf8_trim_whitespace(joined), broken.reason, broken.detail)

    return Step("c4", run)


def fineweb_step(config: FineWebConfig) -> Step:
    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        text = batch["text"]
        lines = Lines(pc.split_pattern(text, "\n"))
        lines = lines.where(_numbers(pc.utf8_length(pc.utf8_trim_whitespace(lines.parts))) > 0)
        count = np.maximum(lines.counts, 1)
        last = pc.utf8_slice_codeunits(lines.parts, -1)
        ended = lines.per_row(pc.is_in(last, pa.array(list(TERMINALS)))) / count
        lengths = _numbers(pc.utf8_length(lines.parts))
        short = lines.per_row(lengths <= config.short_line) / count
        breaks = _numbers(pc.count_substring(text, "\n"))
        letters = np.maximum(_numbers(pc.utf8_length(text)) - breaks, 1)
        repeated = lines.per_row(lengths * lines.repeats()) / letters
        listed = breaks / np.maximum(_numbers(pc.list_value_length(pc.utf8_split_whitespace(text))), 1)
        # There are at least as many words as runs between blanks, so only the rows above the limit need counting.
        over = listed > config.max_line_breaks
        listed[over] = breaks[over] / np.maximum(words_of(text.filter(pa.array(over))).counts, 1)
        return first_broken(
            [
                ("fineweb_empty", lines.counts == 0, lines.counts, 1),
                ("fineweb_unpunctuated", ended < config.min_punctuated_lines, ended, config.min_punctuated_lines),
                ("fineweb_short_lines", short > config.max_short_lines, short, config.max_short_lines),
                (
                    "fineweb_repeated",
                    repeated > config.max_repeated_characters,
                    repeated,
                    config.max_repeated_characters,
                ),
                ("fineweb_list", listed > config.max_line_breaks, listed, config.max_line_breaks),
            ]
        )

    return Step("fineweb", run)


def first_broken(checks: list[Check]) -> Outcome:
    """The outcome of checks in turn: a row's reason is the first it breaks."""
    import pyarrow as pa

    rows = len(checks[0][1])
    reason: list[str | None] = [None] * rows
    detail: list[str | None] = [None] * rows
    for name, broken, values, limit in checks:
        for row in np.flatnonzero(broken).tolist():
            if reason[row] is None:
                reason[row], detail[row] = name, f"{round(float(values[row]), 3):g}, the limit is {limit:g}"
    return Outcome(reason=pa.array(reason, pa.string()), detail=pa.array(detail, pa.string()))


def _numbers(values: pa.Array | np.ndarray) -> np.ndarray:
    import pyarrow.compute as pc

    if isinstance(values, np.ndarray):
        return values
    return pc.cast(pc.fill_null(values, False if str(values.type) == "bool" else 0), "int64").to_numpy()


def _mask(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False).astype(bool)
