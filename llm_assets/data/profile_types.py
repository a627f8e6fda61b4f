"""What kind of value a column holds, told by its values.

Each kind that has a form is a regular expression over trimmed values, run by Arrow over whole columns. A column is of
the first kind below that enough of its values have; what no form covers is a category, an identifier or free text, by
how often values repeat.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_DAY, _MONTH, _YEAR = "(0?[1-9]|[12][0-9]|3[01])", "(0?[1-9]|1[0-2])", "(1[5-9][0-9]{2}|20[0-9]{2})"
_NAME = "(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_CLOCK = r"([01]?[0-9]|2[0-3])[:.h][0-5][0-9]([:.m][0-5][0-9]([.,][0-9]+)?)?"
_ZONE = r"( ?(Z|UTC|GMT|[+-][0-9]{2}:?[0-9]{2}))?"
_DATES = "|".join(
    [
        f"{_YEAR}[-/.]{_MONTH}[-/.]{_DAY}",
        f"{_DAY}[-/. ]{_MONTH}[-/. ]({_YEAR}|[0-9]{{2}})",
        f"{_MONTH}[-/]{_DAY}[-/]({_YEAR}|[0-9]{{2}})",
        f"{_DAY}(st|nd|rd|th)?[ -]{_NAME}[ ,-]*({_YEAR}|[0-9]{{2}})",
        f"({_NAME}) {_DAY}(st|nd|rd|th)?,? {_YEAR}",
    ]
)
_COMPACT = "(19[0-9]{2}|20[0-9]{2})(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])"
_OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]{1,2})"

FORMS: dict[str, str] = {
    "boolean": "(?i:true|false|yes|no|t|f|y|n|on|off|0|1)",
    "date": f"(?i:{_DATES}|{_COMPACT})",
    "time": rf"(?i:{_CLOCK}{_ZONE}( ?[ap]\.?m\.?)?)",
    "date and time": rf"(?i:({_DATES})[T ,]+({_CLOCK}){_ZONE}( ?[ap]\.?m\.?)?)",
    "ip": rf"(({_OCTET}\.){{3}}{_OCTET}(/[0-9]{{1,2}})?|([0-9a-fA-F]{{0,4}}:){{2,7}}[0-9a-fA-F]{{0,4}})",
    "uuid": r"\{?[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\}?",
    "e-mail": r"[A-Za-z0-9._%+'&-]+@([A-Za-z0-9-]+\.)+[A-Za-z]{2,24}",
    "url": r"(?i:[a-z][a-z0-9+.-]*://\S+|www\.[a-z0-9-]+\.\S+)",
    "integer": r"[+-]?([0-9]+|[0-9]{1,3}(,[0-9]{3})+)",
    "decimal": r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+|[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?)([eE][+-]?[0-9]+)?",
    "percentage": r"[+-]?[0-9]+([.,][0-9]+)? ?%",
    "currency": r"[+-]?([$€£¥₹] ?[0-9][0-9,]*(\.[0-9]+)?|[0-9][0-9,]*(\.[0-9]+)? ?[€£¥₹])",
    "phone": r"\+[0-9][0-9 ().-]{5,18}[0-9]|(\(?0?[0-9]{1,5}\)?[ /.-])([0-9]{2,5}[ .-]?){1,4}[0-9]{2,}",
    "list": r"(?s:\[.*\])",
    "object": r"(?s:\{.*\})",
    "digits": "[0-9]{7,15}",
}
WITH_DIGIT = (
    "date", "time", "date and time", "ip", "uuid", "integer", "decimal", "percentage", "currency", "phone", "digits"
)  # fmt: skip
NUMERIC = ("integer", "decimal", "percentage", "currency")
ORDER = (
    "boolean", "date", "date and time", "time", "ip", "uuid", "e-mail", "url", "integer", "decimal", "percentage",
    "currency", "phone", "list", "object",
)  # fmt: skip
CLEAN = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x{FFFD}]"  # what no text of any kind should hold
ENOUGH = 0.8  # share of the values that have to be of a kind
SURE = 0.98  # for kinds whose values are also something else (0 and 1 are numbers)
PHONE = {"phone", "tel", "telephone", "fax", "mobile", "cell"}
CODE = {"id", "code", "zip", "zipcode", "postcode", "postal", "number", "num", "key", "ssn", "ean", "isbn"}


@dataclass(frozen=True)
class Kind:
    """name: the type; share: its evidence, in words `because`; forms: a value that has one of them is valid."""

    name: str
    share: float
    because: str
    forms: tuple[str, ...] = ()


def match_forms(values: pa.Array) -> dict[str, np.ndarray]:
    """Which of `values` (trimmed strings, no null) have each form of FORMS: bool [n] each."""
    import pyarrow.compute as pc

    found = {name: np.zeros(len(values), bool) for name in FORMS}
    digit = _matches(values, "[0-9]")
    with_digit, places = values.filter(digit), np.flatnonzero(digit.to_numpy(zero_copy_only=False))
    for name, form in FORMS.items():
        if name in WITH_DIGIT:
            found[name][places] = _matches(with_digit, f"^(?:{form})$").to_numpy(zero_copy_only=False)
        elif name == "e-mail":
            at = pc.match_substring(values, "@")
            found[name][at.to_numpy(zero_copy_only=False)] = _matches(values.filter(at), f"^(?:{form})$").to_numpy(
                zero_copy_only=False
            )
        else:
            found[name] = _matches(values, f"^(?:{form})$").to_numpy(zero_copy_only=False)
    return found


def _matches(values: pa.Array, regex: str) -> pa.Array:
    import pyarrow.compute as pc

    return pc.match_substring_regex(values, regex)


def choose_kind(
    name: str, matches: Mapping[str, int], present: int, distinct: int, once: int, long: int, words: int
) -> Kind:
    """The kind of a column from counts of rows.

    matches: form -> rows that have it; long: rows of more than 64 characters; words: others of three words or more.
    """
    if not present:
        return Kind("empty", 0.0, "no value")
    share = {form: count / present for form, count in matches.items()}
    spoken = re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower().replace("_", " ").replace("-", " ").split()
    if PHONE & set(spoken) and share["digits"] + share["phone"] >= ENOUGH:
        both = share["digits"] + share["phone"]
        because = f"{both:.1%} have 7 to 15 digits, and the column's name says phone"
        return Kind("phone", both, because, ("digits", "phone"))
    for form in ORDER:
        if share[form] >= (SURE if form in ("boolean", "list", "object") else ENOUGH):
            if form == "integer" and spoken and spoken[-1] in CODE:
                because = f"{share[form]:.1%} are whole numbers, and the column's name says code"
                return Kind("identifier", share[form], because, (form,))
            return Kind(form, share[form], f"{share[form]:.1%} read as {form}", (form,))
    if (long + words) / present >= 0.5 and distinct > 0.2 * present:
        prose = (long + words) / present
        return Kind("text", prose, f"{prose:.1%} are of three words or more, or long; {distinct:,} are distinct")
    if distinct >= 0.9 * present and present >= 20 and words / present < 0.2:
        return Kind("identifier", once / present, f"{once / present:.1%} of the rows have a value of their own")
    repeats = 1 - once / present
    if distinct <= max(20, 0.2 * present) or (repeats >= 0.6 and distinct <= 0.5 * present):
        return Kind("category", repeats, f"{distinct:,} values, {repeats:.1%} of the rows share theirs with another")
    return Kind("text", 1.0, f"{distinct:,} values of no common form")
