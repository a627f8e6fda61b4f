"""All the ways in which a text can be read as a date or a number."""

from __future__ import annotations

import re
from datetime import date

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FULL = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
_TIME = (
    r"(?:[T ](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:\.\d+)?)?(?P<zone> ?Z| ?[+-]\d{2}:?\d{2})?)?"
)
_NUMERIC = re.compile(rf"(\d{{1,4}})([-/. ])(\d{{1,2}})\2(\d{{1,4}}){_TIME}")
_COMPACT = re.compile(rf"(\d{{4}})(\d{{2}})(\d{{2}}){_TIME}")
_DAY = r"(\d{1,4})(?:st|nd|rd|th)?"
_WEEKDAY = r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,? )?"
_DAY_NAMED = re.compile(rf"{_WEEKDAY}{_DAY}[-/. ]([a-z]{{3,9}})\.?,?[-/. ](\d{{1,4}}){_TIME}", re.IGNORECASE)
_NAME_FIRST = re.compile(rf"{_WEEKDAY}([a-z]{{3,9}})\.?[- ]{_DAY},?[- ](\d{{4}}){_TIME}", re.IGNORECASE)


def date_readings(text: str, pivot: int = 50) -> dict[str, str]:
    """ "day_first", "month_first", "year_first" -> ISO 8601, for each order in which the text is a date; "" -> the date
    where its form leaves no choice. `pivot`: two-digit years below it are 20xx, others 19xx."""
    found: dict[str, str] = {}
    if match := _COMPACT.fullmatch(text):
        _add(found, "", match[1], match[2], match[3], match, pivot)
    elif match := _NUMERIC.fullmatch(text):
        first, second, third = match[1], match[3], match[4]
        if len(first) == 4:
            _add(found, "", first, second, third, match, pivot)
        else:
            _add(found, "day_first", third, second, first, match, pivot)
            _add(found, "month_first", third, first, second, match, pivot)
            if len(third) <= 2:
                _add(found, "year_first", first, second, third, match, pivot)
    elif match := _DAY_NAMED.fullmatch(text):
        month = _month(match[2])
        if month and len(match[1]) == 4:
            _add(found, "", match[1], month, match[3], match, pivot)
        elif month:
            _add(found, "" if len(match[3]) == 4 else "day_first", match[3], month, match[1], match, pivot)
            if len(match[3]) <= 2:
                _add(found, "year_first", match[1], month, match[3], match, pivot)
    elif (match := _NAME_FIRST.fullmatch(text)) and (month := _month(match[1])):
        _add(found, "", match[3], month, match[2], match, pivot)
    return found


def _month(name: str) -> str:
    name = name.lower()
    if name in _FULL:
        return str(_FULL.index(name) + 1)
    short = "sep" if name == "sept" else name
    return str(_MONTHS.index(short) + 1) if short in _MONTHS else ""


def _add(found: dict[str, str], order: str, year: str, month: str, day: str, match: re.Match[str], pivot: int) -> None:
    if len(year) not in (2, 4) or len(day) > 2 or len(month) > 2:
        return
    number = int(year)
    if len(year) == 2:
        number += 2000 if number < pivot else 1900
    try:
        shown = date(number, int(month), int(day)).isoformat()
    except ValueError:
        return
    hour, minute, second = match["hour"], match["minute"], match["second"]
    if hour is not None:
        if int(hour) > 23 or int(minute) > 59 or int(second or 0) > 59:
            return
        zone = (match["zone"] or "").strip()
        zone = f"{zone[:3]}:{zone[-2:]}" if len(zone) > 1 else zone
        shown += f"T{int(hour):02d}:{minute}:{second or '00'}{zone}"
    found[order] = shown


_SPACES = "[ '\u2019\u00a0\u202f]"
_FORMS = {
    "point": re.compile(rf"(\d+|\d{{1,3}}(?:,\d{{3}})+|\d{{1,3}}(?:{_SPACES}\d{{3}})+)(?:\.(\d+))?|\.(\d+)"),
    "comma": re.compile(rf"(\d+|\d{{1,3}}(?:\.\d{{3}})+|\d{{1,3}}(?:{_SPACES}\d{{3}})+)(?:,(\d+))?|,(\d+)"),
}


def number_readings(text: str, unit: str = "") -> dict[str, str]:
    """ "point", "comma" -> the number in digits, for each decimal sign with which the text is one; both where the sign
    does not matter. `unit` (a currency sign, %) is taken off; brackets, as in book-keeping, are a minus."""
    body = text.replace(unit, "", 1).strip() if unit else text
    negative = body.startswith(("-", "\u2212")) or (body.startswith("(") and body.endswith(")"))
    body = body[1:-1].strip() if body.startswith("(") and body.endswith(")") else body.lstrip("+-\u2212").strip()
    if len(text) - len(body) > len(unit) + 4:
        return {}
    exponent = re.fullmatch(r"(.*\d)[eE]([+-]?\d{1,2})", body)
    found = {}
    for way, form in _FORMS.items():
        match = form.fullmatch(exponent[1] if exponent else body)
        if not match:
            continue
        digits = re.sub(r"\D", "", match[1] or "").lstrip("0") or "0"
        fraction = match[2] or match[3] or ""
        shown = f"{digits}.{fraction}" if fraction else digits
        if exponent:
            from decimal import Decimal

            shown = format(Decimal(shown).scaleb(int(exponent[2])), "f")
        zero = not shown.strip("0.")
        found[way] = f"-{shown}" if negative and not zero else shown
    return (
        found if len(set(found.values())) > 1 or len(found) == 1 else {"": next(iter(found.values()))} if found else {}
    )
