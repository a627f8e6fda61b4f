"""Cleaning steps on the text column: repair, rules of one's own, markup, white space, masks, length, language.

Each looks over a whole column for what could concern it and touches those rows only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from llm_assets.data.clean_config import RegexRule
from llm_assets.data.config import CleanConfig, LanguageConfig
from llm_assets.data.language import language_problems
from llm_assets.data.markup import plain_prose, repair_text, tidy_lines, tidy_space
from llm_assets.data.masking import mask_label
from llm_assets.data.steps import Outcome, Step, map_where

if TYPE_CHECKING:
    import pyarrow as pa

# RE2: `repair_text`, `plain_prose` and the two kinds of tidying leave a text without any of these as it is.
# Typographic marks and single letters of Latin-1 are no damage: mojibake is two characters beyond ASCII side by side,
# but for the C1 controls, the ligature oe, and A with circumflex or tilde before a blank.
_MARKS = "“”‘’–—…•"  # noqa: RUF001
_LATIN = r"\x{a0}-\x{ac}\x{ae}-\x{c1}\x{c4}-\x{ff}"
TO_REPAIR = rf"[^\t\n -%'-~{_MARKS}{_LATIN}]|[{_LATIN}][^\x00-\x7f]|[^\x00-\x7f][{_LATIN}]"
_LINE_STARTS = r":[a-z]|#|\.\.[ \t]|={3}|-{3}|~{3}|\^{3}|\"{3}|'{3}|\*{3}|\+{3}|_{3}|:{3}|\.{3}|[+|=\- ]{4,}$"
TO_STRIP = rf"(?m)`|\]\(|\]_|>>>|~~~|https?://|::$|\*\S|</?[A-Za-z]|^[ \t]*(?:{_LINE_STARTS})"
_BLANKS = r"\t\x0b-\r\x1c-\x1f\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
TO_TIDY_SPACE = rf"[{_BLANKS}\n]|  |^ | $"
TO_TIDY_LINES = rf"[{_BLANKS}]|  | \n|\n |\n\n\n|^[ \n]|[ \n]$"


def empty_step() -> Step:
    """Rows without text go."""

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow.compute as pc

        text = batch["text"]
        blank = pc.or_(pc.is_null(text), pc.equal(pc.binary_length(pc.utf8_trim_whitespace(text)), 0))
        return reject(pc.fill_null(blank, True), "empty", "no text")

    return Step("empty", run)


def repair_step() -> Step:
    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow.compute as pc

        text = batch["text"]
        return Outcome(text=map_where(text, pc.match_substring_regex(text, TO_REPAIR), repair_text))

    return Step("repair", run)


def rule_step(rule: RegexRule) -> Step:
    """One regex of the recipe, over the whole column at once."""

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow.compute as pc

        if rule.reject is None:
            changed = pc.replace_substring_regex(batch["text"], pattern=rule.pattern, replacement=rule.replacement)
            return Outcome(text=changed)
        found = pc.match_substring_regex(batch["text"], rule.pattern)
        return reject(pc.fill_null(found, False), rule.reject, f"matches {rule.pattern}")

    return Step(f"rule {rule.pattern}", run)


def markup_step() -> Step:
    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow.compute as pc

        return Outcome(
            text=map_where(batch["text"], pc.match_substring_regex(batch["text"], TO_STRIP), plain_prose)
        )  # fmt: skip

    return Step("markup", run)


def space_step(paragraphs: bool) -> Step:
    tidy, concerned = (tidy_space, TO_TIDY_SPACE) if paragraphs else (tidy_lines, TO_TIDY_LINES)

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow.compute as pc

        text = batch["text"]
        return Outcome(text=map_where(text, pc.match_substring_regex(text, concerned), tidy))

    return Step("space", run)


def mask_step() -> Step:
    """The name of its own label goes from each labelled text."""

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa

        rows = zip(batch["text"].to_pylist(), batch["label"].to_pylist(), strict=True)
        return Outcome(text=pa.array([_masked(text, label) for text, label in rows], pa.string()))

    return Step("mask", run)


def _masked(text: str | None, label: str | None) -> str | None:
    if not text or not label:
        return text
    masked = mask_label(text, label)
    if masked == text:
        return text
    return "\n".join(filter(None, (" ".join(line.split()) for line in masked.split("\n"))))


def length_step(config: CleanConfig, name: str = "length") -> Step:
    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        lengths = pc.fill_null(pc.utf8_length(batch["text"]), 0)
        short, long = pc.less(lengths, config.min_chars), pc.greater(lengths, config.max_chars)
        nothing = pa.scalar(None, pa.string())
        count = pc.cast(lengths, pa.string())
        return Outcome(
            reason=pc.if_else(short, "too_short", pc.if_else(long, "too_long", nothing)),
            detail=pc.if_else(
                short,
                pc.binary_join_element_wise(count, f" characters after repair, {config.min_chars} needed", ""),
                pc.binary_join_element_wise(count, f" characters after repair, {config.max_chars} allowed", ""),
            ),
        )

    return Step(name, run)


def language_step(config: LanguageConfig) -> Step:
    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pa.array(language_problems(batch["text"].to_pylist(), config), pa.string())
        return Outcome(reason=pc.if_else(pc.is_valid(found), "language", pa.scalar(None, pa.string())), detail=found)

    return Step("language", run)


def reject(rows: pa.Array, reason: str, detail: str) -> Outcome:
    """The rows of the mask go, all for one reason."""
    import pyarrow as pa
    import pyarrow.compute as pc

    nothing = pa.scalar(None, pa.string())
    return Outcome(reason=pc.if_else(rows, reason, nothing), detail=pc.if_else(rows, detail, nothing))


def text_steps(config: CleanConfig) -> list[Step]:
    """The steps of this module that a recipe asks for, up to the masks."""
    steps = [empty_step()]
    if config.repair:
        steps.append(repair_step())
    steps += [rule_step(rule) for rule in config.rules]
    if config.markup:
        steps.append(markup_step())
    if config.white_space != "keep":
        steps.append(space_step(config.white_space == "paragraphs"))
    if config.mask_labels:
        steps.append(mask_step())
    return steps
