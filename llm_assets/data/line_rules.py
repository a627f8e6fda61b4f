"""The rules of C4 (Raffel et al. 2020) and FineWeb (Penedo et al. 2024), which look at the lines of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from llm_assets.data.cells import byte_counts, cells_of
from llm_assets.data.checks import first_broken
from llm_assets.data.clean_config import C4Config, FineWebConfig
from llm_assets.data.lines import Lines, mask_of, numbers
from llm_assets.data.steps import Outcome, Step
from llm_assets.data.words import TERMINALS, words_of

if TYPE_CHECKING:
    import pyarrow as pa

CITATION = r"\[\d*\]|\[edit\]|\[citation needed\]"
POLICIES = (
    r"(?i)terms of use|privacy policy|cookie policy|uses cookies|use of cookies|use cookies"  # of C4's published code
)


def c4_step(config: C4Config) -> Step:
    """Drops lines, so it changes the texts that stay."""

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        all_lines = Lines(pc.split_pattern(pc.replace_substring_regex(batch["text"], r"\n\z", ""), "\n"))
        line = pc.utf8_trim_whitespace(all_lines.parts)
        cells = cells_of(line)
        sizes = cells.sizes()
        count = cells.per_row(sizes > 0)
        stays = np.ones(len(line), dtype=bool)
        if (sizes > config.max_word_length).any():  # in bytes; characters are fewer
            lengths = numbers(pc.utf8_length(cells.strings)) - 1
            stays &= cells.per_row(lengths > config.max_word_length) == 0
        if config.citations:
            line = pc.replace_substring_regex(line, CITATION, "")
        if config.terminal_punctuation:
            ending = pc.match_substring_regex(line, r"[.?!\"']\z")
            stays &= mask_of(pc.and_not(ending, pc.ends_with(line, "...")))
        stays &= count >= config.min_line_words
        lorem = stays & mask_of(pc.match_substring(line, "lorem ipsum", ignore_case=True)) & config.lorem_ipsum
        script = mask_of(pc.match_substring(line, "javascript", ignore_case=True)) & config.javascript
        curly = stays & ~script & mask_of(pc.match_substring(line, "{")) & config.curly_bracket
        if config.policies:
            script |= mask_of(pc.match_substring_regex(line, POLICIES))
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
        lines = lines.where(numbers(pc.utf8_length(pc.utf8_trim_whitespace(lines.parts))) > 0)
        count = np.maximum(lines.counts, 1)
        last = pc.utf8_slice_codeunits(lines.parts, -1)
        ended = lines.per_row(pc.is_in(last, pa.array(list(TERMINALS)))) / count
        lengths = numbers(pc.utf8_length(lines.parts))
        short = lines.per_row(lengths <= config.short_line) / count
        breaks = byte_counts(text, ord("\n"))
        letters = np.maximum(numbers(pc.utf8_length(text)) - breaks, 1)
        repeated = lines.per_row(lengths * lines.repeats()) / letters
        cells = cells_of(text)
        listed = breaks / np.maximum(cells.per_row(cells.sizes() > 0), 1)
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
