"""What counts as "no value". To add a placeholder, add a row here and its word in ``crm_adapters/placeholders.py``."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.fields import FieldMapping
from crm_adapters.fields import clean_text, find_columns, read
from crm_adapters.placeholders import is_no_name, is_placeholder, says_nothing

PLACEHOLDERS = [
    "",
    "   ",
    "-",
    "--",
    "- -",
    "—",
    "?",
    "???",
    ".",
    "...",
    "…",
    "unknown",
    "Unknown",
    "UNKNOWN UNKNOWN",
    "(unknown)",
    "name unknown",
    "none",
    "None",
    "(none)",
    "[None]",
    "<null>",
    "null",
    "NULL",
    "(null)",
    "nil",
    "NIL",
    "NaN",
    "undefined",
    "undefined undefined",
    "\\N",
    "\\N \\N",
    "\\\\N",
    "#NAME?",
    "desconhecido",
    "sem nome",
    "Não informado",
    "sconosciuto",
    "senza nome",
    "n/d",
    "onbekend",
    "geen naam",
    "niet opgegeven",
    "n/a",
    "N/A",
    "N/A N/A",
    "(N/A)",
    "n.a.",
    "N.A.",
    "na",
    "NA",
    "n / a",
    "tbd",
    "TBD",
    "tba",
    "to be determined",
    "not provided",
    "Not Provided",
    "(not provided)",
    "not available",
    "Not specified.",
    "no name",
    "No Name",
    "[object Object]",
    "anonymous",
    "xxx",
    "#N/A",
    "#NAME?",
    "#REF!",
    "#VALUE!",
    "#DIV/0!",
    "#NULL!",
    "#NUM!",
    "#SPILL!",
    "#ERROR!",
    "#BEZUG!",
    "#¿NOMBRE?",
    "unbekannt",
    "k.A.",
    "Keine Angabe",
    "inconnu",
    "sans nom",
    "desconocido",
    "sin nombre",
    "\ufeffn/a",
    "FNU",
    "LNU",
    "okänd",
    "nieznany",
    "no especificado",
    "sin especificar",
    "não se aplica",
    "Non communiqué",
    "Nicht verfügbar",
    "не указано",
    "不明",
]
NO_NAMES = [
    "{{first_name}}",
    "{{ contact.first_name }} ",
    "{% name %}",
    "${name}",
    "*|FNAME|*",
    "%FIRSTNAME%",
    "%%name%%",
    "<<First Name>>",
    "[[name]]",
    "[FNAME]",
    "<first name>",
    "FIRST_NAME LAST_NAME",
    "Your Name",
    "{{ contact.first_name }}",
    "{first_name}",
    "${firstName}",
    "%FIRST_NAME%",
    "%%FirstName%%",
    "[First Name]",
    "First Name",
    "WIRELESS CALLER",
    "Unavailable",
    "Private Number",
    "Declined to state",
    "[redacted]",
    "Do not call",
    "Walk-in",
    "DNC",
    "*|FNAME|* *|LNAME|*",
]
"""What stands in place of a name, and is no placeholder where a phone is asked for."""
VALUES = [
    "Ada",
    "Null",
    "Nil",
    "Na",
    "Nan",
    "X",
    "Jennifer Null",
    "Na Li",
    "NA LI",
    "Unknown Pleasures",
    "Ada (unknown)",
    "None Shall Pass",
    "Noname Jones",
    "Name",
    "Ref",
    "Value",
    "[VIP]",
    "<3",
    "100%",
    "Will Private-Jones",
    "Ana First",
    "Object",
    "N.",
    "O'Brien",
    "-5",
    "0",
    "🙂",
    "李娜",
    "+1 415 555 2671",
    "n/a@example.com",
    "The customer gave no name and asked us to call back on Monday morning, please.",
]


@pytest.mark.parametrize("text", PLACEHOLDERS)
def test_a_placeholder_is_no_value(text: str) -> None:
    assert is_placeholder(text)
    columns = find_columns(("first_name", "last_name", "email"), FieldMapping())
    fields = read(columns, {"first_name": text, "last_name": text, "email": text})
    assert (fields.full_name, fields.email) == ("", "")


@pytest.mark.parametrize("text", NO_NAMES)
def test_what_is_no_name_greets_nobody(text: str) -> None:
    assert is_no_name(text)
    assert not is_placeholder(text)
    columns = find_columns(("first_name", "last_name", "email"), FieldMapping())
    assert read(columns, {"first_name": text, "last_name": text}).full_name == ""


@pytest.mark.parametrize("text", ["DO NOT TEXT", "DNC", "Do not call", "declined", "Private", "{{mobile}}", "{phone}"])
def test_a_refusal_in_the_field_of_the_phone_is_not_skipped(text: str) -> None:
    columns = find_columns(("mobile", "phone"), FieldMapping())
    found = read(columns, {"mobile": text, "phone": "+14155552671"}).phones
    assert [one[1] for one in found] == [text, "+14155552671"]  # the first candidate alone counts: a rejection


@pytest.mark.parametrize("text", VALUES)
def test_a_value_is_never_lost(text: str) -> None:
    assert not is_placeholder(text)
    assert not is_no_name(text)
    assert read(find_columns(("name",), FieldMapping()), {"name": text}).full_name == text


@pytest.mark.parametrize(
    ("text", "name"),
    [("O&#39;Brien", "O'Brien"), ("Tom &amp; Ann", "Tom & Ann"), ("&nbsp;", ""), ("Caf&eacute;", "Café"), ("&", "&")],
)
def test_entities_in_a_name_are_the_characters_that_they_stand_for(text: str, name: str) -> None:
    assert read(find_columns(("name",), FieldMapping()), {"name": text}).full_name == name


@pytest.mark.parametrize("text", ["Null", "Nil", "Na", "Nan", "X"])
def test_a_phone_or_an_email_is_never_a_name(text: str) -> None:
    assert clean_text(text) == ""


NOTHING_ANYWHERE = [
    *("", " ", "-", "--", "?", "...", "n/a", "N/A", "n.a.", "(none)", "<null>", "\\N", "NaN", "#REF!", "#N/A"),
    *("{{ status }}", "*|STATUS|*", "<<Status>>", "[[Status]]", "{% x %}"),
    *("not provided", "(Not provided)", "not applicable", "[object Object]", "keine Angabe", "no disponible"),
]
SOMETHING_ELSEWHERE = [
    "unknown",
    "TBD",
    "tba",
    "x",
    "NA",
    "anonymous",
    "keine",
    "ninguno",
    "no name",
    "none left",
    "{vip}",
    "[name]",
    "<name>",
    "${x}",
    "private",
    "declined",
    "0",
    "-5",
]


@pytest.mark.parametrize("text", NOTHING_ANYWHERE)
def test_what_says_nothing_in_any_field_says_no_name_either(text: str) -> None:
    assert says_nothing(text)
    assert is_no_name(text)


@pytest.mark.parametrize("text", SOMETHING_ELSEWHERE)
def test_a_status_is_a_value_where_no_name_is_asked_for(text: str) -> None:
    assert not says_nothing(text)


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert is_placeholder(text) == is_placeholder(f"  {text}\t")


@given(st.text(), st.sampled_from([*PLACEHOLDERS, *NO_NAMES, "(x", " x", "a x", "Na", "Straße"]))
def test_a_glance_at_the_ending_never_changes_the_answer(start: str, end: str) -> None:
    text = start + end
    assert is_placeholder(text) == is_placeholder(text + " ")  # a text that ends with a space is looked at completely
    assert is_no_name(text) == is_no_name(text + " ")
