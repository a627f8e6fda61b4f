"""Personal data is found by its form and its check digits, and little else is taken for it."""

from __future__ import annotations

import json
import string
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_assets.data.pii import FORMS, HINTS, find_pii, iban_holds, luhn_holds, redact

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_gold_personal_data(real_data: Path) -> None:
    names = {"PHONE_NUMBER": "PHONE", "CREDIT_CARD": "CREDIT_CARD", "US_SSN": "SSN", "IP_ADDRESS": "IP",
             "EMAIL_ADDRESS": "EMAIL", "DOMAIN_NAME": "URL", "IBAN_CODE": "IBAN"}  # fmt: skip
    gold, found = set(), set()
    for number, case in enumerate(json.loads((real_data / "pii" / "generated_small.json").read_text("utf-8"))):
        gold |= {
            (number, span["start_position"], span["end_position"], names[span["entity_type"]])
            for span in case["spans"]
            if span["entity_type"] in names
        }
        found |= {(number, *span) for span in find_pii(case["full_text"], list(FORMS))}
    assert len(gold) == 30
    assert len(gold & found) / len(gold) >= 0.98
    assert len(gold & found) / len(found) >= 0.95


@QUICK
@given(st.text(alphabet=string.digits, min_size=12, max_size=18).filter(lambda text: len(set(text)) > 1))
def test_check_digits_tell_card_numbers(digits: str) -> None:
    number = "4" + digits[:-1]
    right = [digit for digit in string.digits if luhn_holds(number + digit)]
    assert len(right) == 1
    assert redact(f"card {number}{right[0]}.", ["CREDIT_CARD"]) == "card [CREDIT_CARD]."
    wrong = str((int(right[0]) + 1) % 10)
    assert redact(f"card {number}{wrong}.", ["CREDIT_CARD"]) == f"card {number}{wrong}."


def test_what_looks_like_personal_data_and_is_none() -> None:
    assert iban_holds("GB82 WEST 1234 5698 7654 32")
    text = (
        "On 1998-06-28, 12/27/1986, 2019-2021; ISSN 0895-4798, ISBN 978-3-16-148410-0; 1 000 000 rows, v1.2.3, a[::2]"
    )
    assert redact(text, list(FORMS)) == text
    found = redact(
        "Mail jo@x.org or +49 30 1234567, GB82 WEST 1234 5698 7654 32, 531-21-7351, ::1, fe80::1:2", list(FORMS)
    )
    assert found == "Mail [EMAIL] or [PHONE], [IBAN], [SSN], ::1, [IP]"
    assert redact(found, list(FORMS)) == found


@QUICK
@given(
    st.lists(
        st.sampled_from([*"0123456789", *"- .:/()+@Fx", "DE89", "12 34", "http://", "a@b.co", "10.0."]), max_size=16
    )
)
def test_what_a_form_needs_is_wherever_the_form_is(parts: list[str]) -> None:
    text = "".join(parts)
    assert all(HINTS[kind].search(text) for kind, form in FORMS.items() if form.search(text))
