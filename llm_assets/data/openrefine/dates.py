"""Dates as OpenRefine reads and writes them: free text, Java patterns, parts and steps. All times are UTC."""

from __future__ import annotations

import calendar
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

import regex

from llm_assets.data.openrefine.values import EvalError, NotSupported

# fmt: off
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
          "December"]
DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
# fmt: on
# Java reads two-digit years as within 80 years before and 20 after today; "today" is fixed, so that a replay repeats.
PIVOT = 2026
GREGORIAN = datetime(1582, 10, 15)
_ZONE = r"Z|[+-]\d{2}:?\d{2}"
_TIME = rf"(?:[T ]\s*(\d{{1,2}}):(\d{{2}})(?::(\d{{2}})(?:[.,](\d{{1,9}}))?)?\s*([AaPp][Mm])?\s*({_ZONE}|UTC|GMT)?)?"
_ISO = regex.compile(rf"(\d{{4}})-(\d{{1,2}})-(\d{{1,2}}){_TIME}")
_NUMERIC = regex.compile(rf"(\d{{1,4}})[-/. ](\d{{1,2}})[-/. ](\d{{1,4}}){_TIME}")
_NAMED = regex.compile(
    r"(?:(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
    r"(?:(?P<d1>\d{1,2})(?:st|nd|rd|th)?[-\s.,]+(?P<m1>[a-z]{3,})|(?P<m2>[a-z]{3,})\.?\s+(?P<d2>\d{1,2})(?:st|nd|rd|th)?)"
    rf"[-\s.,]+(?P<y>\d{{4}}|\d{{2}}){_TIME}",
    regex.IGNORECASE,
)


def parse_free(text: str, month_first: bool = True) -> datetime | EvalError:
    """`toDate(text)`: ISO 8601, numbers in the order given, or a month's name with day and year; else an error.

    A first number over 12 is the day, as in OpenRefine; a bare number is a year.
    """
    text = text.strip()
    failed = EvalError("Unable to parse as date")
    try:
        if found := _ISO.fullmatch(text):
            year, month, day = (int(part) for part in found.groups()[:3])
            return _moment(year, month, day, *found.groups()[3:])
        if found := _NAMED.fullmatch(text):
            name = (found["m1"] or found["m2"]).lower()
            month = next((n for n, full in enumerate(MONTHS, 1) if full.lower().startswith(name)), 0)
            if name == "sept":
                month = 9
            if not month:
                return failed
            year = int(found["y"]) + (2000 if len(found["y"]) == 2 else 0)
            return _moment(year, month, int(found["d1"] or found["d2"]), *found.groups()[5:])
        if found := _NUMERIC.fullmatch(text):
            first, second, third = found.groups()[:3]
            if len(first) > 2:
                year, month, day = int(first), int(second), int(third)
            else:
                month, day = (int(first), int(second)) if month_first else (int(second), int(first))
                if month > 12 >= day:
                    month, day = day, month
                year = int(third) + (2000 if len(third) <= 2 else 0)
            return _moment(year, month, day, *found.groups()[3:])
        if regex.fullmatch(r"\d{4}", text):
            return datetime(int(text), 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError):
        return failed
    return failed


def _moment(
    year: int,
    month: int,
    day: int,
    hour: str | None,
    minute: str | None,
    second: str | None,
    fraction: str | None,
    half: str | None,
    zone: str | None,
) -> datetime:
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    micro = int((fraction or "0").ljust(6, "0")[:6])
    return datetime(year, month, day, hours, int(minute or 0), int(second or 0), micro, tzinfo=_zone(zone))


def _zone(text: str | None) -> timezone:
    if not text or text in ("Z", "UTC", "GMT"):
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


@lru_cache(maxsize=256)
def pattern_parts(pattern: str) -> tuple[tuple[str, str], ...]:
    """A Java date pattern as (letter, run) or ("", literal). Raises NotSupported for an unknown letter."""
    parts: list[tuple[str, str]] = []
    for found in regex.finditer(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']+|(')", pattern):
        if found.group(4 - 1):
            raise NotSupported(f"date format {pattern!r}: a quote that is not closed")
        letter = found.group(2)
        if letter is None:
            quoted = found.group(1)
            parts.append(("", found.group() if quoted is None else (quoted.replace("''", "'") or "'")))
        elif letter in "yuMdHhkKmsSaEzZX" and not (letter in "zZ" and len(found.group()) > 3):
            parts.append((letter, found.group()))
        else:
            raise NotSupported(f"date format {pattern!r}: the letter {letter!r}")
    return tuple(parts)


@lru_cache(maxsize=256)
def _reader(pattern: str) -> regex.Pattern[str]:
    parts = pattern_parts(pattern)
    out: list[str] = []
    for n, (letter, run) in enumerate(parts):
        following = parts[n + 1] if n + 1 < len(parts) else ("", "")
        if not letter:
            out.append("".join(r"\s+" if char == " " else regex.escape(char) for char in run))
        elif letter == "a":
            out.append(f"(?P<a{n}>[AaPp][Mm])")
        elif letter == "E":
            out.append(r"[A-Za-z]+")
        elif letter in "zZX":
            out.append(f"(?P<z{n}>{_ZONE}|UTC|GMT)")
        elif letter == "M" and len(run) > 2:
            names = "|".join(sorted([*MONTHS, *(name[:3] for name in MONTHS)], key=len, reverse=True))
            out.append(f"(?P<N{n}>(?i:{names}))")
        else:  # beside another number a field has its own width, elsewhere it takes all digits
            joined = (
                following[0] and following[0] in "yuMdHhkKmsS" and not (following[0] == "M" and len(following[1]) > 2)
            )
            out.append(f"(?P<{letter}{n}>[+-]?\\d{{{len(run)}}})" if joined else f"(?P<{letter}{n}>[+-]?\\d+)")
    return regex.compile(r"\s*" + "".join(out))


def parse_pattern(text: str, pattern: str) -> datetime | None:
    """`SimpleDateFormat(pattern).parse(text)`, lenient: text may follow, months and days run over. None: no match."""
    found = _reader(pattern.strip()).match(text)
    if not found:
        return None
    parts = pattern_parts(pattern.strip())
    got = {"y": 1970, "M": 1, "d": 1, "H": 0, "m": 0, "s": 0, "S": 0}
    half, zone = "", None
    for name, value in found.groupdict().items():
        letter = name[0]
        if letter == "N":
            got["M"] = next(n for n, full in enumerate(MONTHS, 1) if full[:3].lower() == value[:3].lower())
        elif letter == "a":
            half = value.lower()
        elif letter == "z":
            zone = value
        elif letter in "yu":
            year = int(value)
            if len(parts[int(name[1:])][1]) <= 2 and len(value) == 2 and value.isdigit():
                year += (PIVOT - 80) // 100 * 100
                year += 100 if year <= PIVOT - 80 else 0
            got["y"] = year
        elif letter in "hK":
            got["H"] = int(value) % 12 if letter == "h" else int(value)
        elif letter == "k":
            got["H"] = int(value) % 24
        else:
            got[letter] = int(value)
    if half == "pm" and got["H"] < 12:
        got["H"] += 12
    try:
        year, month = got["y"] + (got["M"] - 1) // 12, (got["M"] - 1) % 12 + 1
        start = datetime(year, month, 1, tzinfo=_zone(zone))
        step = timedelta(days=got["d"] - 1, hours=got["H"], minutes=got["m"], seconds=got["s"], milliseconds=got["S"])
        if start + step < GREGORIAN.replace(tzinfo=start.tzinfo):  # Java counts in the Julian calendar before
            century = (year - (month < 3)) // 100
            start += timedelta(days=century - century // 4 - 2)
        return (start + step).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def format_pattern(value: datetime, pattern: str) -> str:
    """`DateTimeFormatter.ofPattern(pattern).format(value)` in English."""
    return "".join(_field(value, letter, run) if letter else run for letter, run in pattern_parts(pattern))


def _field(value: datetime, letter: str, run: str) -> str:
    width = len(run)
    if letter in "yu":
        return f"{value.year % 100:02d}" if width == 2 else str(value.year).rjust(width, "0")
    if letter == "M" and width > 2:
        return MONTHS[value.month - 1] if width == 4 else MONTHS[value.month - 1][:3]
    if letter == "E":
        return DAYS[value.weekday()] if width == 4 else DAYS[value.weekday()][:3]
    if letter == "a":
        return "AM" if value.hour < 12 else "PM"
    if letter == "S":
        return f"{value.microsecond:06d}".ljust(width, "0")[:width]
    if letter in "zZX":
        offset = int((value.utcoffset() or timedelta()).total_seconds()) // 60
        if not offset and letter in "zX":
            return "Z"
        hours, minutes = divmod(abs(offset), 60)
        sign = "-" if offset < 0 else "+"
        if letter == "X" and width == 1:
            return f"{sign}{hours:02d}" + (f"{minutes:02d}" if minutes else "")
        return f"{sign}{hours:02d}{':' if letter != 'Z' and width != 2 else ''}{minutes:02d}"
    number = {
        "M": value.month,
        "d": value.day,
        "H": value.hour,
        "h": (value.hour - 1) % 12 + 1,
        "k": value.hour or 24,
        "K": value.hour % 12,
        "m": value.minute,
        "s": value.second,
    }[letter]
    return str(number).rjust(width, "0")


def date_part(value: datetime, part: str) -> int | str | EvalError:
    """`datePart`. The week is the week of the month, weeks starting on Sunday."""
    if part in ("hours", "hour", "h"):
        return value.hour
    if part in ("minutes", "minute", "min"):
        return value.minute
    if part in ("seconds", "sec", "s"):
        return value.second
    if part in ("milliseconds", "ms", "S"):
        return value.microsecond // 1000
    if part in ("nanos", "nano", "n"):
        return value.microsecond * 1000
    if part in ("years", "year"):
        return value.year
    if part in ("months", "month"):
        return value.month
    if part in ("weeks", "week", "w"):
        return (value.day + (value.replace(day=1).weekday() + 1) % 7 - 1) // 7 + 1
    if part in ("days", "day", "d"):
        return value.day
    if part == "weekday":
        return DAYS[value.weekday()]
    if part == "time":
        return int(value.timestamp() * 1000 // 1)
    return EvalError(f"Date unit '{part}' not recognized.")


def step(value: datetime, amount: int, unit: str) -> datetime | EvalError:
    """`inc`: months and years keep the day where the month has it, and take its last day elsewhere."""
    seconds = {
        "hour": 3600,
        "minute": 60,
        "min": 60,
        "second": 1,
        "sec": 1,
        "s": 1,
        "h": 3600,
        "day": 86400,
        "d": 86400,
    }
    seconds |= {"week": 604800, "w": 604800}
    name = unit.removesuffix("s") if len(unit) > 2 else unit
    try:
        if name in seconds:
            return value + timedelta(seconds=seconds[name] * amount)
        if name in ("month", "year", "m", "M", "y"):
            months = value.month - 1 + amount * (12 if name in ("year", "y") else 1)
            year, month = value.year + months // 12, months % 12 + 1
            return value.replace(year=year, month=month, day=min(value.day, calendar.monthrange(year, month)[1]))
    except (ValueError, OverflowError):
        return EvalError("date out of range")
    return EvalError(f"Unknown time unit '{unit}'")


def difference(later: datetime, earlier: datetime, unit: str) -> int | EvalError:
    """`diff` of dates: whole units from `earlier` to `later`."""
    seconds = {"hour": 3600, "minute": 60, "second": 1, "day": 86400, "week": 604800, "milli": 0.001}
    name = unit.removesuffix("s")
    if name in seconds:
        return int((later - earlier).total_seconds() / seconds[name])
    if name in ("month", "year"):
        months = (later.year - earlier.year) * 12 + later.month - earlier.month
        rest_later = (later.day, later.time())
        rest_earlier = (earlier.day, earlier.time())
        if months > 0 and rest_later < rest_earlier:
            months -= 1
        elif months < 0 and rest_later > rest_earlier:
            months += 1
        return int(months / 12) if name == "year" else months
    return EvalError(f"Unknown time unit '{unit}'")
