"""Java's regular expressions, formats, numbers and collation, held against a real JVM where there is one."""

from __future__ import annotations

import itertools
import json
import random
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
import regex

from llm_assets.data.openrefine.collation import collation_key
from llm_assets.data.openrefine.dates import format_pattern, parse_pattern
from llm_assets.data.openrefine.java import (
    java_format,
    java_regex,
    java_replacement,
    java_split,
    parse_double,
    parse_long,
)
from llm_assets.data.openrefine.values import NotSupported, date_text, double_text

SUBJECTS = [
    "Hello World 42",
    "a,b;c|d",
    "  two  spaces ",
    "línea número 7",
    "x" * 5,
    "2015-11-30 12:00\n",
    "tab\there\r\nnew",
    "A.B-C_D~E&F",
    "naïve café ΣΑΣ",
    "[x](y){z}",
    "",
    "aaa-bbb--ccc",
]
PATTERNS = [
    r"\d+",
    r"\w+",
    r"\s+",
    r"[^\w\s]",
    r"[\w-]+",
    r"[a-c[x-z]]",
    r"[a-z&&[^aeiou]]",
    r"\p{L}+",
    r"\p{Lu}",
    r"\P{L}",
    r"\p{Punct}",
    r"\p{Alpha}+",
    r"[\p{Punct}\s]+",
    r"^\s+|\s+$",
    r".",
    r".*",
    r"$",
    r"\Z",
    r"\z",
    r"(\w)\1",
    r"a++",
    r"(?>a+)b",
    r"(?i)hello",
    r"(?<year>\d{4})-(\d\d)",
    r"\Qa,b\E",
    r"[.\-_]",
    r"[|]",
    r"[~&]",
    r"-+",
    r"\D",
    r"[\D]",
    r"\S",
    r"\W+",
    r"\h+",
    r"\R",
    r"x{2,3}",
    r"x{2,3}?",
    r"(?:a|b)+",
    r"(?<=,)b",
    r"(?<!,)b",
    r"\bW",
    r"[^]x]",
    r"\u0041",
    r"\x41",
    r"\.",
    r"[\[\]]",
]
SPLITS = [
    (r",", 0),
    (r"", 0),
    (r"[,;|]", 0),
    (r"\s", 0),
    (r"\s*", 0),
    (r"-", 0),
    (r"-", 2),
    (r"x", 0),
    (r"x", 3),
    (r"l*", 0),
]
REPLACEMENTS = [
    (r"(\w+) (\w+)", "$2 $1"),
    (r"\d", r"\$"),
    (r"(a)|(b)", "<$1$2>"),
    (r"(?<y>\d{4})", "${y}!"),
    (r"(x)", "$10"),
    ("a", r"\\"),
    ("x*", "-"),
]
DATES = [
    ("yyyy-MM-dd", "2015-11-30"),
    ("dd/MM/yyyy", "01/11/2015"),
    ("M/d/yy", "2/10/94"),
    ("d-MMM-yy", "10-Feb-94"),
    ("dd MMMM yyyy", "30 November 2015"),
    ("yyyyMMdd", "19081209"),
    ("yyyy-MM-dd'T'HH:mm:ss", "2015-11-30T01:02:03"),
    ("h:mm a", "7:05 PM"),
    ("yyyy-MM-dd", "2015-13-45"),
    ("yyyy-MM-dd", "not a date"),
    ("dd.MM.yyyy", "1.2.2003 and more"),
    ("EEE, d MMM yyyy", "Mon, 30 Nov 2015"),
    ("yyyy-MM-dd HH:mm:ss Z", "2015-11-30 01:02:03 +0200"),
    ("yy", "27"),
    ("yy", "45"),
    ("MM/dd/yyyy", "2/30/2015"),
    ("yyyy/MM/dd", "15/1/2"),
    ("yyyy-MM-dd", "1500-03-10"),
    ("yyyy-MM-dd", "1582-10-15"),
    ("HHmm", "1234"),
    ("ddMMMyyyy", "01jan2020"),
]
PRINTS = [
    "yyyy-MM-dd",
    "d MMM yyyy",
    "dd MMMM yy",
    "EEEE, EEE",
    "HH:mm:ss.SSS",
    "h:mm a",
    "yyyy-MM-dd'T'HH:mm:ssX",
    "M/d/uuuu",
]
FORMATS = [
    ("%d", "42"),
    ("%05d", "42"),
    ("%,d", "1234567"),
    ("%.2f", "2.675"),
    ("%8.3f", "3.14159"),
    ("%-6d|", "42"),
    ("%+d", "3"),
    ("%.0f", "2.5"),
    ("%s", "1.0E10"),
    ("%x", "255"),
    ("100%% %d", "5"),
]
DOUBLES = [
    "1",
    "1e7",
    "0.0015",
    "1e-4",
    "123456789.125",
    "1e21",
    "0.3",
    "2e-3",
    "100",
    "9999999",
    "12345678",
    "4.35",
    "0.1",
    "-2.5",
]


@pytest.fixture(scope="module")
def jvm(tmp_path_factory):
    """Answers of a real JVM to a list of questions."""
    if not shutil.which("javac") or not shutil.which("java"):
        pytest.skip("no JDK (java, javac) on this machine")
    folder = tmp_path_factory.mktemp("java")
    subprocess.run(["javac", "-d", folder, Path(__file__).with_name("Oracle.java")], check=True, capture_output=True)

    def ask(questions: list[tuple[str, ...]]) -> list:
        escaped = str.maketrans({"\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"})
        lines = ["\t".join(part.translate(escaped) for part in question) for question in questions]
        (folder / "questions").write_text("\n".join(lines) + "\n", encoding="utf-8")
        done = subprocess.run(["java", "-cp", folder, "Oracle", folder / "questions"], capture_output=True, check=True)
        return [json.loads(line) for line in done.stdout.decode().splitlines()]

    return ask


def differences(questions, answers, ours) -> list:
    assert len(questions) == len(answers)
    return [(q, a, o) for q, a in zip(questions, answers, strict=True) if (o := ours(*q[1:])) != a]


def test_patterns_find_what_java_finds(jvm):
    questions = [("find", p, "", s) for p in PATTERNS for s in SUBJECTS]
    questions += [("find", p, "i", s) for p in ("hello", "[a-c]+", r"\bw") for s in SUBJECTS]

    def ours(pattern, flag, subject):
        found = java_regex(pattern, flag == "i").finditer(subject)
        return "".join(f"{match.start()}-{match.end()} " for match in found)

    assert differences(questions, jvm(questions), ours) == []


def test_split_and_replace_as_java(jvm):
    questions = [("split", p, str(n), s) for p, n in SPLITS for s in SUBJECTS]
    assert differences(questions, jvm(questions), lambda p, n, s: java_split(java_regex(p), s, int(n))) == []
    questions = [("replace", p, by, s) for p, by in REPLACEMENTS for s in SUBJECTS]
    assert differences(questions, jvm(questions), lambda p, by, s: java_regex(p).sub(java_replacement(by), s)) == []


def test_dates_and_numbers_as_java(jvm):
    questions = [("parse", form, text) for form, text in DATES]

    def parsed(form, text):
        found = parse_pattern(text, form)
        return found and date_text(found)

    assert differences(questions, jvm(questions), parsed) == []
    moment = "2015-03-07T19:05:09.042Z"
    questions = [("print", form, moment) for form in PRINTS]
    assert differences(questions, jvm(questions), lambda f, _: format_pattern(datetime.fromisoformat(moment), f)) == []
    questions = [("format", form, number) for form, number in FORMATS]
    number_of = lambda text: float(text) if "." in text else int(text)  # noqa: E731
    assert differences(questions, jvm(questions), lambda f, n: java_format(f, number_of(n))) == []
    questions = [("double", text) for text in DOUBLES]
    assert differences(questions, jvm(questions), lambda text: double_text(float(text))) == []


def test_order_of_texts_as_java(jvm):
    drawn = random.Random(7)
    pool = "abcABC zZ-_.,'09éÉü/()&"
    words = ["".join(drawn.choices(pool, k=drawn.randint(0, 6))).strip() for _ in range(900)]
    pairs = [(a, b) for a, b in itertools.pairwise(words) if a and b]
    questions = [("collate", a, b) for a, b in pairs]

    def ours(a, b):
        left, right = collation_key(a), collation_key(b)
        return (left > right) - (left < right)

    wrong = differences(questions, jvm(questions), ours)
    assert wrong == []


@pytest.mark.parametrize("pattern", [r"\p{javaLowerCase}", r"(?x)a b", r"\0101", r"\cA", r"(?<name", r"\y"])
def test_what_is_not_known_is_refused(pattern):
    with pytest.raises((NotSupported, regex.error)):
        java_regex(pattern)


def test_unknown_date_letters_and_formats_are_refused():
    with pytest.raises(NotSupported, match="letter 'G'"):
        parse_pattern("1 AD", "y G")
    with pytest.raises(NotSupported, match="%b"):
        java_format("%b", 1)


def test_numbers_as_java_parses_them():
    assert (parse_long("+42"), parse_long("4_2"), parse_long("9" * 19), parse_long("")) == (42, None, None, None)
    assert parse_double(" 1.5e3 ") == 1500.0 and parse_double("1,5") is None and parse_double("0x10") is None
    assert parse_pattern("2020-02-30", "yyyy-MM-dd") == datetime(2020, 3, 1, tzinfo=UTC)
