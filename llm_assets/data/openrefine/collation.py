"""The order of Latin text in `java.text.Collator`, which OpenRefine sorts and compares by."""

from __future__ import annotations

import unicodedata

from llm_assets.data.remembered import remembered

# The order of ASCII in Java's default collator, as OpenJDK 17 sorts it; space and hyphen count only in a tie.
_ORDER = {
    char: chr(n) for n, char in enumerate("_,;:!?/.`^~'\"()[]{}@$*\\&#%+<=>|0123456789abcdefghijklmnopqrstuvwxyz")
}
_OTHER, _SURROGATES = 128, (0xD800, 0xE000)  # where the weights of other characters start; what none of them may be


def collation_key(text: str, case: bool = True) -> tuple[str, ...]:
    """Sorts as the collator does: letters first, then accents and spaces, then case. Short texts, since keys
    wait in memory and on disk."""
    return _levels(text) if case else _levels(text)[:2]


@remembered
def _levels(text: str) -> tuple[str, ...]:
    primary, secondary, tertiary = list[str](), list[str](), list[str]()
    for char in unicodedata.normalize("NFD", text):
        lower = char.lower()
        if char in " -\u00a0" or unicodedata.combining(char):
            place = len(primary)
            secondary.append(chr(place >> 14) + chr(place & 0x3FFF) + char)
        elif unicodedata.category(char) != "Cc" or char in "\t\n\r\f\v":
            primary.append(_ORDER.get(lower) or _other(lower[0]))
            tertiary.append("1" if lower != char else "0")
    return "".join(primary), "".join(secondary), "".join(tertiary)


def _other(char: str) -> str:
    """By its number, behind those that have an order; the last 2,176 there are, which nobody uses, are one."""
    weight, (first, end) = ord(char) + _OTHER, _SURROGATES
    return chr(min(weight if weight < first else weight + end - first, 0x10FFFF))
