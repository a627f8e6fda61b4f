"""Personal data in texts, found by form and, where the form has check digits, only where these hold.

E-mail addresses, phone numbers, card numbers (Luhn, ISO/IEC 7812), IBANs (ISO 13616, modulo 97), IP addresses, US
social security numbers, and URLs where asked for. Names and postal addresses have no form to find them by and are not
looked for. What is found becomes its type in brackets, so that a model still learns that something stood there.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from llm_assets.data.clean_config import PiiConfig, PiiType
from llm_assets.data.steps import Outcome, Step, map_where

if TYPE_CHECKING:
    import pyarrow as pa

# RE2, over a whole column: a text without any of these holds nothing that is looked for.
MAYBE = r"@|\d[\d .()/\-]{4,}\d|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:|://|[A-Z]{2}\d{2}[ A-Z0-9]{11,}"

# Each is bounded and cannot start inside a longer run of its own characters, so its time is linear in the text.
FORMS: dict[PiiType, re.Pattern[str]] = {
    "URL": re.compile(r"\bhttps?://[^\s<>\"')\]]+"),
    "EMAIL": re.compile(
        r"(?<![\w.+%-])[A-Za-z0-9][\w.+%'-]{0,63}@(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}[A-Za-z]{2,24}(?![\w-])"
    ),
    "IBAN": re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])"),
    "CREDIT_CARD": re.compile(r"(?<![\w.-])[2-6](?:[ -]?\d){12,18}(?![\w-])"),
    "SSN": re.compile(r"(?<![\w.-])\d{3}([- ])\d{2}\1\d{4}(?![\w-])"),
    "IP": re.compile(
        r"(?<![\w.:-])(?:(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)"
        r"|(?=[0-9A-Fa-f:]*:[0-9A-Fa-f]*:)[0-9A-Fa-f:]{3,39}(?:\.\d{1,3}){0,3}(?![\w:]))"
    ),
    "PHONE": re.compile(
        r"(?<![\w.,/:-])(?:(?:\+|00)\d{7,13}"
        r"|\+?(?:\d{1,5}(?:[.-]| ?/ ?| )?)?\(\d{1,5}\)(?:(?:[.-]| ?/ ?| )?\d{2,8}){1,5}"
        r"|\+?\d{1,5}(?:(?:[.-]| ?/ ?| )\d{2,8}){1,6})"
        r"(?: ?(?:x|ext\.?|extension) ?\d{1,6})?(?![\w/]|[.,:-]\d)"
    ),
}
# What a form needs somewhere in the text: found several times faster than the form is not found.
HINTS: dict[PiiType, re.Pattern[str]] = {
    "URL": re.compile("://"),
    "EMAIL": re.compile("@"),
    "IBAN": re.compile(r"[A-Z]{2}\d{2}"),
    "CREDIT_CARD": re.compile(r"\d(?:[ -]?\d){12}"),
    "SSN": re.compile(r"\d{3}[- ]\d{2}[- ]\d{4}"),
    "IP": re.compile(r"\d\.\d{1,3}\.\d{1,3}\.\d|:[0-9A-Fa-f]*:"),
    "PHONE": re.compile(r"\d"),
}
GROUPS = re.compile(r"\d+")
YEAR = re.compile(r"(?:1[89]|20)\d\d")
DATE = re.compile(
    r"\d{1,2}[-./ ]\d{1,2}[-./ ](?:\d\d|(?:1[89]|20)\d\d)|\d{4}[-./ ](?:0?\d|1[0-2])[-./ ][0-3]?\d(?: \d+)?"
)
EXTENSION = re.compile(r" ?(?:x|ext\.?|extension) ?\d{1,6}\Z")


def pii_step(config: PiiConfig) -> Step:
    """Redacts the types of `config` in the text column."""

    def run(batch: pa.RecordBatch) -> Outcome:
        import pyarrow.compute as pc

        text = batch["text"]
        return Outcome(
            text=map_where(text, pc.match_substring_regex(text, MAYBE), lambda value: redact(value, config.types))
        )

    return Step("pii", run)


def redact(text: str, types: Sequence[PiiType]) -> str:
    """`text` with each piece of personal data as its type in brackets."""
    parts, last = [], 0
    for start, end, kind in find_pii(text, types):
        parts += [text[last:start], f"[{kind}]"]
        last = end
    return "".join(parts) + text[last:] if parts else text


def find_pii(text: str, types: Sequence[PiiType]) -> list[tuple[int, int, PiiType]]:
    """(start, end, type) in order, none overlapping: what is found by a stricter form is not looked at by a looser."""
    found: list[tuple[int, int, PiiType]] = []
    for kind, form in FORMS.items():
        if not HINTS[kind].search(text):
            continue
        check = CHECKS.get(kind)
        for match in form.finditer(text):
            start, end = match.span()
            if any(start < other_end and other_start < end for other_start, other_end, _ in found):
                continue
            if check is None or check(match.group()):
                found.append((start, end, kind))
    return sorted(item for item in found if item[2] in types)


def luhn_holds(number: str) -> bool:
    """The check digit of card numbers."""
    digits = [int(digit) for digit in reversed(number) if digit.isdigit()]
    doubled = (2 * digit - 9 * (digit > 4) for digit in digits[1::2])
    return len(set(digits)) > 1 and (sum(digits[::2]) + sum(doubled)) % 10 == 0


def iban_holds(number: str) -> bool:
    """The check digits of an account number: 1 modulo 97, letters counting from 10."""
    plain = number.replace(" ", "")
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(letter, 36)) for letter in moved)) % 97 == 1


def ssn_holds(number: str) -> bool:
    """Areas, groups and serials that are given out."""
    area, group, serial = GROUPS.findall(number)
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def ip_holds(address: str) -> bool:
    """An address in full, of version 4 or 6; `::` alone and short forms such as `1::2` are slices more often."""
    if ":" in address and len(GROUPS.findall(address)) + len(re.findall(r"[A-Fa-f]+", address)) < 3:
        return False
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


def phone_holds(number: str) -> bool:
    """7 to 15 digits (ITU-T E.164) grouped as phone numbers are, and not as dates, years, amounts or ISBNs are."""
    number = EXTENSION.sub("", number)
    groups = GROUPS.findall(number)
    digits = "".join(groups)
    separators = set(re.findall(r"[-./ ]", number))
    if not 7 <= len(digits) <= 15 or DATE.fullmatch(number) or set(digits) <= {"0", "1"} or groups[0] == "0":
        return False
    if separators >= {".", "/"} or (len(groups) <= 2 and any(YEAR.fullmatch(group) for group in groups)):
        return False
    if YEAR.fullmatch(groups[0]) and number[0] == "(":  # a volume's year and pages
        return False
    if number[4:5] == "-" and len(digits) == 8 and _issn_holds(digits):
        return False
    if digits.startswith(("978", "979")) and len(digits) == 13:  # an ISBN
        return False
    if number[0] in "+(" or number.startswith("00"):
        return True
    if "(" in number or len(groups) == 1:
        return False
    thousands = all(len(group) == 3 for group in groups[1:])
    if separators == {"-"}:
        return len(groups) >= 3 or (len(groups[0]), len(groups[1])) == (3, 4) or number[0] == "0"
    if separators == {"."}:
        return len(groups) >= 3 and not thousands
    if number[0] == "0":
        return len(digits) >= 8
    return len(digits) >= 9 and 3 <= len(groups) <= 5 and not thousands and len(set(map(len, groups))) > 1


def _issn_holds(digits: str) -> bool:
    """The check digit of serial numbers (ISO 3297): they look like local phone numbers."""
    return sum((8 - place) * int(digit) for place, digit in enumerate(digits)) % 11 == 0


CHECKS: dict[PiiType, Callable[[str], bool]] = {
    "CREDIT_CARD": luhn_holds,
    "IBAN": iban_holds,
    "SSN": ssn_holds,
    "IP": ip_holds,
    "PHONE": phone_holds,
}
