"""Every way to write a number that is accepted, and every trap that is not."""

from __future__ import annotations

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.core.numbering import has_new_area_code
from worker.core.phones import (
    Phone,
    PhoneProblem,
    _north_american,
    _written,
    is_e164,
    mask,
    mentions_number,
    parse_phone,
    without_number,
)

US = "+14155552671"
GB = "+447911123456"
DE = "+491711234567"


@pytest.mark.parametrize(
    ("text", "region", "e164"),
    [
        (US, None, US),
        ("(415) 555-2671", "US", US),
        ("415.555.2671", "US", US),
        ("415 555 2671", "US", US),
        ("1-415-555-2671", "US", US),
        ("14155552671", "US", US),
        ("+1 415 555 2671", "GB", US),
        ("  +1 (415) 555-2671 ", None, US),
        ("+14155552671", None, US),
        ("٤١٥٥٥٥٢٦٧١", "US", US),
        ("+۱۴۱۵۵۵۵۲۶۷۱", None, US),
        ("+1\u00a0415\u00a0555\u202f2671", None, US),
        ("\u202a+14155552671\u202c", None, US),
        ("\u200e+1 415\u2011555\u20132671\ufeff", None, US),
        ("tel:+1-415-555-2671", None, US),
        ("TEL:+1%20415%20555%202671", None, US),
        ("'+14155552671", None, US),
        ("00447911123456", "GB", GB),
        ("0044 7911 123456", "US", GB),
        ("011 44 7911 123456", "US", GB),
        ("+44 (0)7911 123456", None, GB),
        ("07911 123456", "GB", GB),
        ("0171/1234567", "DE", DE),
        ("+49 171/1234567", None, DE),
        ("+14155552671 / (415) 555-2671", "US", US),
        ("+390612345678", None, "+390612345678"),
        ("+18002345678", None, "+18002345678"),
        ("+19242345678", None, "+19242345678"),  # in Minnesota since 2024
        ("(457) 234-5678", "US", "+14572345678"),
    ],
)
def test_accepted(text: str, region: str | None, e164: str) -> None:
    parsed = parse_phone(text, region)
    assert isinstance(parsed, Phone), parsed
    assert parsed.e164 == e164


@pytest.mark.parametrize(
    ("text", "region", "code"),
    [
        ("", "US", "empty"),
        (" \u200e ", "US", "empty"),
        ("n/a", "US", "not_a_number"),
        ("call the office", "US", "not_a_number"),
        ("+1 415 555 2671 / +1 415 555 2672", None, "several"),
        ("415 555 2671; 415 555 2672", "US", "several"),
        ("415 555 2671 or 415 555 2672", "US", "several"),
        ("415 555 2671, 415 555 2672", "US", "several"),
        ("415-555-2671\n415-555-2672", "US", "several"),
        ("+14155552671 +14155552672", None, "several"),
        ("+14155552671+14155552672", None, "several"),
        ("home 415 555 2671 / work 415 555 2672", "US", "several"),
        ("030123456/030123457", "DE", "several"),
        ("415 555 2671 ext 5", "US", "extension"),
        ("415 555 2671 ext. 12", "US", "extension"),
        ("415-555-2671x123", "US", "extension"),
        ("415 555 2671 #5", "US", "extension"),
        ("415-555-2671,,123", "US", "extension"),
        ("tel:+14155552671;ext=5", None, "extension"),
        ("1-800-FLOWERS", "US", "vanity"),
        ("1800 GOT JUNK", "US", "vanity"),
        ("415 555 2671 (mobile)", "US", "words"),
        ("mobile: 415 555 2671", "US", "words"),
        ("4155552671.0", "US", "spreadsheet"),
        ("14155552671.00", "US", "spreadsheet"),
        ("1.41556E+10", "US", "spreadsheet"),
        ("4,15555E+09", "US", "spreadsheet"),
        ("5552671", "US", "too_short"),
        ("12345", "US", "too_short"),
        ("911", "US", "too_short"),
        ("+1415555267", None, "too_short"),
        ("+141555526710000", None, "too_long"),
        ("4155552671", None, "no_country"),
        ("00447911123456", None, "no_country"),
        ("447911123456", "US", "too_long"),
        ("+11555552671", None, "invalid"),
        ("0000000000", "US", "invalid"),
        ("+999123456789", None, "invalid"),
        ("+19002345678", None, "premium"),
        ("415-555-2671?", "US", "not_a_number"),
        ("415-555-2671²", "US", "not_a_number"),
        ("415-555-2671/72", "US", "several"),
    ],
)
def test_refused(text: str, region: str | None, code: str) -> None:
    parsed = parse_phone(text, region)
    assert isinstance(parsed, PhoneProblem), parsed
    assert parsed.code == code
    assert ";" in parsed.reason or "," in parsed.reason  # says what to do, too


def test_an_unknown_default_region_is_no_region() -> None:
    assert parse_phone("4155552671", "XX") == parse_phone("4155552671", None)


@given(st.text(max_size=40), st.sampled_from([None, "US", "DE"]))
def test_whatever_is_accepted_is_a_valid_number_and_stable(text: str, region: str | None) -> None:
    parsed = parse_phone(text, region)
    if isinstance(parsed, Phone):
        valid = phonenumbers.is_valid_number(phonenumbers.parse(parsed.e164))
        assert valid or has_new_area_code(parsed.e164)
        assert parse_phone(parsed.e164, region) == parsed
        assert is_e164(parsed.e164)


@given(st.integers(200_000_0000, 999_999_9999))
def test_the_fast_path_agrees_with_the_library(national: int) -> None:
    text = f"+1{national}"
    number = phonenumbers.parse(text)
    premium = phonenumbers.number_type(number) == phonenumbers.PhoneNumberType.PREMIUM_RATE
    valid = phonenumbers.is_valid_number(number) or has_new_area_code(text)
    assert isinstance(parse_phone(text), Phone) == (valid and not premium)


@pytest.mark.parametrize(
    ("text", "strict"),
    [
        (US, True),
        ("14155552671", False),
        ("+1 4155552671", False),
        ("+1415555267", False),
        ("+4407911123456", False),
    ],
)
def test_strict_e164(text: str, strict: bool) -> None:
    assert is_e164(text) is strict


@pytest.mark.parametrize(
    ("phone", "masked"), [(US, "+1415•••2671"), ("+4512345678", "+45•••78"), ("+290123", "•••"), ("", "•••")]
)
def test_masked(phone: str, masked: str) -> None:
    assert mask(phone) == masked


@given(
    st.sampled_from(["", "1", "+1", "+1 ", "1-", "1."]),
    st.sampled_from(["{}{}{}", "({}) {}-{}", "({}){}{}", "{}-{}-{}", "{}.{}.{}", "{} {} {}", "({}) {} {}", "{}-{}{}"]),
    st.integers(200, 999),
    st.integers(200, 999),
    st.integers(0, 9999),
    st.sampled_from(["US", "CA", "GB", "JM", None]),
)
def test_the_fast_path_says_what_the_parser_says(
    country: str, shape: str, area: int, exchange: int, line: int, region: str | None
) -> None:
    text = country + shape.format(area, exchange, f"{line:04d}")
    fast = _north_american(text, region)
    if fast is not None:
        assert fast == _written(text, region)


@pytest.mark.parametrize(
    ("text", "number", "rest"),
    [
        (f"call {US}, please", US, "call X, please"),
        ("call 4155552671", US, "call X"),
        ("call (415) 555-2671!", US, "call X!"),
        ("(call 415.555.2671)", US, "(call X)"),
        ("+1 415 555 2671", US, "X"),
        ("tel:+1-415-555-2671", US, "tel:X"),
        ("0014155552671 and 1 (415) 555 2671", US, "X and X"),
        ('{"from":"%2B14155552671"}', US, '{"from":"%2BX"}'),
        ("017‒1 1234567", DE, "X"),
        ("+49 (0)171 1234567", DE, "X"),
        ("07911 123 456", GB, "X"),
        ("a longer number: 94155552671", US, None),
        ("a longer number: 41555526712", US, None),
        ("+52 415 555 2671 is in Mexico", US, None),
        ("+14155552672", US, None),
        ("", US, None),
    ],
)
def test_a_number_is_found_and_replaced_in_whatever_format_it_occurs(text: str, number: str, rest: str | None) -> None:
    assert mentions_number(text, number) is (rest is not None)
    assert without_number(text, number, "X") == (text if rest is None else rest)


@given(st.text(max_size=60))
def test_replacing_a_number_leaves_none(text: str) -> None:
    assert not mentions_number(without_number(f"{text}{US} {text}", US, "X"), US)
