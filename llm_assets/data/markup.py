"""From markup to prose: reStructuredText, Markdown, HTML, doctests and broken characters.

Rules, not parsers: docstrings mix all of these and are rarely valid in any. Each rule is linear in the text.
"""

from __future__ import annotations

import html
import re
import unicodedata

CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff\ufffe\uffff]")
# What ftfy's rules other than that for encodings change: entities, escapes, C1 and other controls, line and paragraph
# separators, ligatures, surrogates.
UNUSUAL = re.compile(
    r"&#?[0-9A-Za-z]{1,24};|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3\u2028\u2029\u206a-\u206f"
    r"\ud800-\udfff\ufb00-\ufb06\ufeff\ufff9-\ufffc]"
)
BEYOND_ASCII = re.compile(r"[^\x00-\x7f]+")
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n[^\S\n]*)+")

FENCE = re.compile(r"^[ \t]*(```|~~~)[^\n]*\n.*?^[ \t]*\1[ \t]*$\n?", re.M | re.S)
DOCTEST = re.compile(r"^[ \t]*>>>[^\n]*\n?(?:^[ \t]*\S[^\n]*\n?)*", re.M)
DIRECTIVE = re.compile(r"^[ \t]*\.\.[ \t]+([\w:+-]+)::[ \t]*([^\n]*)$", re.M)
OPTION = re.compile(
    r"^[ \t]*:(?:maxdepth|nosignatures|toctree|members|alt|width|include-source|label|align):[^\n]*$", re.M
)
FIELD = re.compile(r"^[ \t]*:(param|parameter|arg|raises?|returns?|rtype|type|keyword|ivar|cvar|var)\b([^:\n]*):", re.M)
ROLE = re.compile(r":(?:[\w+-]+:){1,3}`([^`]*)`")
ROLE_TARGET = re.compile(r"^(.*?)\s*<[^>]*>$", re.S)
LINK_RST = re.compile(r"`([^`<]+?)\s*<[^>`]*>`_{1,2}")
LINK_MARKDOWN = re.compile(r"!?\[([^\]\[]*)\]\([^)\s]*\)")
FOOTNOTE = re.compile(r"\[[\w#*]{1,8}\]_")
TICKS = re.compile(r"`{1,2}([^`\n]*)`{1,2}_{0,2}")
EMPHASIS = re.compile(r"(?<![\w*])(\*{1,3})(?=\S)([^*\n]+?)(?<=\S)\1(?![\w*])")
HEADING = re.compile(r"^[ \t]*#{1,6}[ \t]+", re.M)
UNDERLINE = re.compile(r"^[ \t]*([=\-~^\"'*+#_:.])\1{2,}[ \t]*$", re.M)
RUNS = tuple(sign * 3 for sign in "=-~^\"'*+#_:.")  # what an underline needs
PAIR = re.compile(r"[+|=\-][ \t]*[+|=\-]")  # and what a rule of a table does
TABLE_RULE = re.compile(r"^[ \t]*[+|=\- ]{4,}$", re.M)
TAG = re.compile(
    r"</?(?:a|b|i|p|br|hr|em|li|ul|ol|td|tr|th|div|img|pre|sub|sup|span|code|table|strong|Tip\w*|h[1-6])\b[^<>]{0,200}>"
)
URL = re.compile(r"\bhttps?://[^\s<>\"')\]]+")
DIRECTIVE_WORDS = {
    "deprecated": "deprecated", "versionadded": "new in version", "versionchanged": "changed in version",
    "note": "note:", "warning": "warning:", "seealso": "see also:", "tip": "tip:", "important": "important:",
}  # fmt: skip
DROPPED_ARGUMENTS = {"code", "code-block", "sourcecode", "ipython", "plot", "image", "figure", "math", "currentmodule"}


def repair_text(text: str) -> str:
    """Mojibake, entities, control and zero-width characters, line ends.

    `ftfy` (a 0.1 ms call) is asked only where it can matter: text beyond ASCII that its own test calls bad, or that
    has a character its other rules look for. Its punctuation and width rules are off: a typographic quote is no damage.
    """
    if not text.isascii():
        import ftfy

        if UNUSUAL.search(text) or looks_bad(text):
            text = ftfy.fix_text(text, uncurl_quotes=False, fix_character_width=False, normalization="NFC")
        else:
            text = unicodedata.normalize("NFC", text)
    elif "&" in text and "<" not in text:
        text = html.unescape(text)
    if "\x1b" in text:
        text = ANSI.sub("", text)
    return CONTROL.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))


def looks_bad(text: str) -> bool:
    """ftfy's `is_bad`. All that it looks for is at most four characters from one beyond ASCII, so where these are few
    only their neighbourhoods are looked at.
    """
    from ftfy.badness import is_bad

    near = "\n".join(text[max(run.start() - 4, 0) : run.end() + 4] for run in BEYOND_ASCII.finditer(text))
    return bool(is_bad(text)) if len(near) > len(text) / 2 else bool(is_bad(near) and is_bad(text))


def plain_prose(text: str) -> str:
    """The prose of a docstring: code blocks, doctests and adornments gone, links and roles as their text."""
    if ">>>" in text:
        text = DOCTEST.sub("\n", text)
    if "```" in text or "~~~" in text:
        text = FENCE.sub("\n", text)
    if ".." in text:
        text = DIRECTIVE.sub(_directive, text)
    if any(run in text for run in RUNS):
        text = UNDERLINE.sub("", text)
    if any(sign in text for sign in ("|", "+", "=", "--", "- -")) and PAIR.search(text):
        text = TABLE_RULE.sub("", text)
    if "`" in text:
        text = ROLE.sub(_role, text)
        text = LINK_RST.sub(r"\1", text)
        text = TICKS.sub(r"\1", text)
    if "[" in text:
        text = LINK_MARKDOWN.sub(r"\1", text)
        text = FOOTNOTE.sub("", text)
    if ":" in text:
        text = OPTION.sub("", text)
        text = FIELD.sub(r"\1\2:", text)
        text = URL.sub("", text)
    if "*" in text:
        text = EMPHASIS.sub(r"\2", text)
    if "<" in text:
        text = TAG.sub(" ", text)
    if "#" in text:
        text = HEADING.sub("", text)
    return text.replace("::\n", ":\n")


def tidy_space(text: str) -> str:
    """Paragraphs on one line each, one line break between them."""
    return "\n".join(filter(None, (" ".join(part.split()) for part in BLANK_LINES.split(text))))


def tidy_lines(text: str) -> str:
    """Single blanks, lines as they are, at most one empty line between two."""
    lines = "\n".join(" ".join(line.split()) for line in text.splitlines())
    return BLANK_LINES.sub("\n\n", lines).strip("\n")


def _directive(match: re.Match[str]) -> str:
    name, argument = match.group(1).lower(), match.group(2)
    if name in DROPPED_ARGUMENTS:
        return ""
    return f"{DIRECTIVE_WORDS.get(name, '')} {argument}"


def _role(match: re.Match[str]) -> str:
    text = match.group(1)
    target = ROLE_TARGET.match(text)
    return target.group(1) if target and target.group(1) else text.strip("<>").lstrip("~!")
