"""The small pure parts of a sync: record hash, normalising, the guard on removals, the bitmap of met records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.fields import FieldMapping
from crm_adapters.base import ContactChange, ContactFields
from crm_adapters.fields import ColumnFinder
from worker.contacts.mapping import MappedRecord, RecordMapping
from worker.contacts.records import (
    UnusableRecord,
    choose_phone,
    clean_email,
    clean_name,
    digest_record,
    normalise,
    rejection_key,
)
from worker.contacts.removals import removal_refusal
from worker.contacts.seen import SeenRecords

SALT = b"rules"


def digest(change: ContactChange, salt: bytes = SALT) -> tuple[bytes, bytes]:
    """Digest a record of which everything is stored."""
    return digest_record(change, change.properties, salt)


def test_the_hash_does_not_depend_on_the_order_of_fields() -> None:
    one = digest(ContactChange("1", {"a": 1, "b": "x"}))
    other = digest(ContactChange("1", {"b": "x", "a": 1}))
    assert one == other


@pytest.mark.parametrize(
    "other",
    [
        ContactChange("1", {"a": 2}),
        ContactChange("1", {"a": 1, "b": None}),
        ContactChange("1", {"a": 1}, deleted=True),
        ContactChange("1", {"a": 1}, kind="deal"),
        ContactChange("1", {"a": 1}, kind="deal", person="2"),
    ],
)
def test_the_hash_tells_versions_apart(other: ContactChange) -> None:
    assert digest(ContactChange("1", {"a": 1}))[1] != digest(other)[1]


def test_other_reading_rules_give_another_hash() -> None:
    change = ContactChange("1", {"a": 1})
    assert digest(change, b"one")[1] != digest(change, b"two")[1]


@pytest.mark.parametrize(
    "change",
    [
        ContactChange("", {}),
        ContactChange("a\x00b", {}),
        ContactChange("1", {"a": {1, 2}}),
        ContactChange("1", {"a": "\ud800"}),
        ContactChange("i" * 256, {}),
    ],
)
def test_what_cannot_be_stored_is_said_so(change: ContactChange) -> None:
    with pytest.raises(UnusableRecord):
        digest(change)


def found(*phones: tuple[str, str], country: str = "") -> MappedRecord:
    return MappedRecord(ContactFields(phones), country, "Country" if country else "")


def test_the_first_phone_decides_even_if_a_later_one_is_better() -> None:
    phone, problem = choose_phone(found(("Mobile", "12"), ("Office", "+14155552671")), "US")
    assert phone is None
    assert problem is not None
    assert 'the field "Mobile"' in problem[1]


def test_a_deletion_is_not_read() -> None:
    def unreachable(_: object) -> ContactFields:
        raise AssertionError("read")

    mapping = RecordMapping(FieldMapping(), ColumnFinder(FieldMapping()), unreachable)
    record = normalise(ContactChange("1", {}, deleted=True), {}, b"{}", b"digest", mapping)
    assert (record.phone, record.problem) == (None, None)


@pytest.mark.parametrize(
    ("country", "text", "phone", "problem"),
    [
        ("Mexico", "5512345678", "+525512345678", ""),
        ("México", "55 1234 5678", "+525512345678", ""),
        ("MX", "5512345678", "+525512345678", ""),
        ("MEX", "5512345678", "+525512345678", ""),
        ("Mexico (MX)", "5512345678", "+525512345678", ""),
        ("+52", "5512345678", "+525512345678", ""),
        ("\U0001f1f2\U0001f1fd", "5512345678", "+525512345678", ""),
        ("Deutschland", "0171 1234567", "+491711234567", ""),
        ("Allemagne", "0171 1234567", "+491711234567", ""),
        ("Alemania", "+1 415 555 2671", "+14155552671", ""),
        ("", "4155552671", "+14155552671", ""),
        ("Atlantis", "+14155552671", "+14155552671", ""),
        ("Atlantis", "4155552671", None, 'holds "Atlantis", which is not a known country'),
        ("Congo", "0812345678", None, "not a known country"),
        ("276", "0171 1234567", None, "not a known country"),
        ("Germany", "12", None, "too few digits"),
    ],
)
def test_the_country_of_a_record_comes_before_the_default_region(
    country: str, text: str, phone: str | None, problem: str
) -> None:
    taken, why = choose_phone(found(("Phone", text), country=country), "US")
    assert taken == phone
    assert problem in (why[1] if why else "")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Anna   Maria\tSmith \n", "Anna Maria Smith"),
        ("e\u0301lodie", "élodie"),
        ("שלום עולם", "שלום עולם"),
        ("👩‍👩‍👧 Family", "👩‍👩‍👧 Family"),
        ("=cmd|'/c calc'!A1", "=cmd|'/c calc'!A1"),
        ("a\x00b\x07c", "abc"),
        ("Ada \ud800", "Ada"),
        ("\u00e9" * 1_000_000, "\u00e9" * 200),
        ("x" * 500, "x" * 200),
        ("", ""),
    ],
)
def test_names_in_any_script_become_one_clean_line(text: str, cleaned: str) -> None:
    assert clean_name(text) == cleaned


@pytest.mark.parametrize(
    ("text", "result"),
    [
        (" anna@example.org ", ("anna@example.org", "")),
        ("данные@почта.рф", ("данные@почта.рф", "")),
        ("", ("", "")),
        ("no address", ("", "no address")),
        ("a@b, c@d", ("", "a@b, c@d")),
        ("anna@example.org\x00", ("", "anna@example.org")),
        ("mailto:anna@example.org", ("anna@example.org", "")),
        ("MAILTO:anna@example.org?subject=Hi", ("anna@example.org", "")),
        ("Anna Lee <anna@example.org>", ("anna@example.org", "")),
        ('"Lee, Anna" <anna@example.org>', ("anna@example.org", "")),
        ("anna@example.org\u200b", ("anna@example.org", "")),
        ("'anna@example.org'", ("anna@example.org", "")),
        ('"anna@example.org";', ("anna@example.org", "")),
        ("anna@example.org;", ("anna@example.org", "")),
        ("anna@example.org.", ("anna@example.org", "")),
        ("'anna@example.org", ("anna@example.org", "")),
        ("'", ("", "")),
        ("anna@example.org;a2@example.org", ("", "anna@example.org;a2@example.org")),
        ("anna@example.org <a2@example.org>", ("", "anna@example.org <a2@example.org>")),
        ("\ud800@example.org", ("", "?@example.org")),
        ("a" * 10_000 + "@example.org", ("", "a" * 254)),
    ],
)
def test_an_email_is_taken_or_left_never_guessed(text: str, result: tuple[str, str]) -> None:
    assert clean_email(text) == result


@pytest.mark.parametrize(
    ("missing", "stored", "limit", "refused"),
    [
        (0, 100, 0.2, False),
        (20, 100, 0.2, False),
        (21, 100, 0.2, True),
        (100, 100, 1.0, True),
        (5, 6, 0.2, False),
        (1, 1, 0.2, False),
        (2, 2, 0.2, True),
        (6, 10, 0.2, True),
        (6, 10, 0.6, False),
        (6, 0, 0.2, True),
        (1, 0, 0.2, False),
    ],
)
def test_many_missing_records_are_not_taken_for_deleted(missing: int, stored: int, limit: float, refused: bool) -> None:
    reason = removal_refusal(missing, stored, limit)
    assert (reason is not None) is refused
    if reason:
        assert "--accept-removals" in reason


@given(st.lists(st.integers(0, 5000)))
def test_the_bitmap_is_a_set(ids: list[int]) -> None:
    seen, model = SeenRecords(), set[int]()
    for one in ids:
        assert seen.add(one) == (one not in model)
        model.add(one)
    assert all((one in seen) == (one in model) for one in range(0, 5001, 7))


def test_a_rejection_is_filed_under_a_key_that_every_database_keeps() -> None:
    assert rejection_key("42") == "42"
    assert rejection_key("a\x00b\ud800") == "ab?"
    long, other = rejection_key("x" * 5000 + "1"), rejection_key("x" * 5000 + "2")
    assert long != other
    assert len(long) < 400
