"""The columns of real exports are found by their names; odd values never raise."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.fields import FieldMapping
from crm_adapters.base import ContactFields
from crm_adapters.fields import Columns, find_column, find_columns, find_id, missing_columns, nearest_columns, read

BY_NAME = FieldMapping()


def columns(header: str, mapping: FieldMapping = BY_NAME) -> Columns:
    return find_columns(tuple(header.split(",")), mapping)


def found(header: str) -> tuple[list[str], list[str], list[str], str | None]:
    at = columns(header)
    return list(at.phones), [*at.full_name, *at.name_parts], list(at.emails), find_id(tuple(header.split(",")))


@pytest.mark.parametrize(
    ("header", "phones", "names", "emails", "identifier"),
    [
        pytest.param(
            "Record ID,First Name,Last Name,Email,Phone Number,Contact owner,Associated Company,Mobile Phone Number",
            ["Mobile Phone Number", "Phone Number"],
            ["First Name", "Last Name"],
            ["Email"],
            "Record ID",
            id="hubspot export",
        ),
        pytest.param(
            "vid,firstname,lastname,mobilephone,phone,email,hs_object_id",
            ["mobilephone", "phone"],
            ["firstname", "lastname"],
            ["email"],
            "hs_object_id",
            id="hubspot properties",
        ),
        pytest.param(
            "First Name,Last Name,Title,Account Name,Mailing City,Phone,Fax,Mobile,Email,Account Owner,Contact ID",
            ["Mobile", "Phone"],
            ["First Name", "Last Name"],
            ["Email"],
            "Contact ID",
            id="salesforce report",
        ),
        pytest.param(
            "Id,IsDeleted,AccountId,LastName,FirstName,Name,Phone,Fax,MobilePhone,HomePhone,OtherPhone,AssistantPhone,Email",
            ["MobilePhone", "Phone", "HomePhone", "OtherPhone"],
            ["Name", "FirstName", "LastName"],
            ["Email"],
            "Id",
            id="salesforce data export",
        ),
        pytest.param(
            "Name,Given Name,Additional Name,Family Name,Group Membership,E-mail 1 - Type,E-mail 1 - Value,"
            "E-mail 2 - Type,E-mail 2 - Value,Phone 1 - Type,Phone 1 - Value,Phone 2 - Type,Phone 2 - Value",
            ["Phone 1 - Value", "Phone 2 - Value"],
            ["Name", "Given Name", "Additional Name", "Family Name"],
            ["E-mail 1 - Value", "E-mail 2 - Value"],
            None,
            id="google contacts before 2024",
        ),
        pytest.param(
            "First Name,Middle Name,Last Name,Phonetic First Name,Nickname,Organization Name,Labels,"
            "E-mail 1 - Label,E-mail 1 - Value,Phone 1 - Label,Phone 1 - Value",
            ["Phone 1 - Value"],
            ["First Name", "Middle Name", "Last Name"],
            ["E-mail 1 - Value"],
            None,
            id="google contacts",
        ),
        pytest.param(
            "Title,First Name,Middle Name,Last Name,Company,Business Fax,Business Phone,Company Main Phone,Home Phone,"
            "Mobile Phone,Other Phone,Pager,Primary Phone,E-mail Address,E-mail Type,E-mail 2 Address",
            ["Mobile Phone", "Primary Phone", "Home Phone", "Business Phone", "Other Phone"],
            ["First Name", "Middle Name", "Last Name"],
            ["E-mail Address", "E-mail 2 Address"],
            None,
            id="outlook",
        ),
        pytest.param(
            "Person - ID,Person - Name,Person - Organization,Person - Email - Work,Person - Phone - Work,"
            "Person - Phone - Mobile,Person - Owner",
            ["Person - Phone - Mobile", "Person - Phone - Work"],
            ["Person - Name"],
            ["Person - Email - Work"],
            "Person - ID",
            id="pipedrive",
        ),
        pytest.param(
            "Person - Name,Person - Phone,Person - Email,Organization - Name",
            ["Person - Phone"],
            ["Person - Name"],
            ["Person - Email"],
            None,
            id="pipedrive short",
        ),
        pytest.param(
            "Record Id,Contact Owner.id,Contact Owner,First Name,Last Name,Account Name,Email,Phone,Other Phone,Mobile,"
            "Assistant,Asst Phone,Secondary Email",
            ["Mobile", "Phone", "Other Phone"],
            ["First Name", "Last Name"],
            ["Email"],
            "Record Id",
            id="zoho",
        ),
        pytest.param(
            "id,full_name,phone,mobile_phone,email,created_at",
            ["mobile_phone", "phone"],
            ["full_name"],
            ["email"],
            "id",
            id="database",
        ),
        pytest.param(
            "customer_id,first_name,last_name,cell,email_address",
            ["cell"],
            ["first_name", "last_name"],
            ["email_address"],
            "customer_id",
            id="database 2",
        ),
        pytest.param(
            "Kundennummer,Vorname,Name,Straße,Telefon geschäftlich,Telefon,Handy,E-Mail-Adresse",
            ["Handy", "Telefon", "Telefon geschäftlich"],
            ["Vorname", "Name"],
            ["E-Mail-Adresse"],
            "Kundennummer",
            id="german",
        ),
        pytest.param(
            "Vorname;Nachname;Name;Mobiltelefon".replace(";", ","),
            ["Mobiltelefon"],
            ["Name", "Vorname", "Nachname"],
            [],
            None,
            id="german with whole name",
        ),
        pytest.param(
            "ID,Prénom,Nom,Téléphone,Téléphone portable,Adresse e-mail",
            ["Téléphone portable", "Téléphone"],
            ["Prénom", "Nom"],
            ["Adresse e-mail"],
            "ID",
            id="french",
        ),
        pytest.param("Nom,Tél. mobile", ["Tél. mobile"], ["Nom"], [], None, id="french, one name"),
        pytest.param(
            "Id,Nombre,Apellidos,Teléfono,Teléfono móvil,Correo electrónico",
            ["Teléfono móvil", "Teléfono"],
            ["Nombre", "Apellidos"],
            ["Correo electrónico"],
            "Id",
            id="spanish",
        ),
        pytest.param("Nombre,Celular", ["Celular"], ["Nombre"], [], None, id="spanish, one name"),
        pytest.param(
            "Código do cliente,Nome,Sobrenome,Telefone,Celular,E-mail",
            ["Celular", "Telefone"],
            ["Nome", "Sobrenome"],
            ["E-mail"],
            "Código do cliente",
            id="portuguese",
        ),
        pytest.param("Nome,Telemóvel", ["Telemóvel"], ["Nome"], [], None, id="portuguese, one name"),
        pytest.param(
            "Codice cliente,Cognome,Nome,Cellulare,Telefono ufficio,Indirizzo email",
            ["Cellulare", "Telefono ufficio"],
            ["Nome", "Cognome"],
            ["Indirizzo email"],
            "Codice cliente",
            id="italian",
        ),
        pytest.param(
            "Klantnummer,Voornaam,Tussenvoegsel,Achternaam,Telefoonnummer,Mobiel,E-mailadres",
            ["Mobiel", "Telefoonnummer"],
            ["Voornaam", "Tussenvoegsel", "Achternaam"],
            ["E-mailadres"],
            "Klantnummer",
            id="dutch",
        ),
        pytest.param("Voornaam,Naam,GSM", ["GSM"], ["Voornaam", "Naam"], [], None, id="flemish"),
        pytest.param("a,b,c", [], [], [], None, id="nothing usual"),
    ],
)
def test_usual_exports(
    header: str, phones: list[str], names: list[str], emails: list[str], identifier: str | None
) -> None:
    assert found(header) == (phones, names, emails, identifier)


def test_a_mapping_wins_and_the_rest_is_still_found() -> None:
    at = columns("id,Mobile,Desk,Name,Known as,Email", FieldMapping(phone=("Desk",), full_name=("known AS",)))
    assert at == Columns(phones=("Desk",), name_parts=("Known as",), emails=("Email",))


def test_a_mapped_list_of_names_is_joined_and_of_phones_is_tried_in_order() -> None:
    at = columns("a,b,c,d", FieldMapping(phone=("d", "c"), full_name=("b", "a")))
    assert read(at, {"a": "Lovelace", "b": "Ada", "c": "111", "d": ""}) == ContactFields(
        phones=(("c", "111"),), full_name="Ada Lovelace"
    )


def test_a_mapped_column_that_is_missing_is_named_with_the_nearest() -> None:
    header = ("First Name", "Phone Number", "Phone Number (2)")
    assert missing_columns(header, ["phone_number", "Phone Numbr"]) == ["Phone Numbr"]
    assert nearest_columns(header, "Phone Numbr")[0] == "Phone Number"
    assert find_column(("Phone", "phone"), "PHONE") is None, "two columns alike: none is guessed"


def test_the_whole_name_wins_and_the_parts_step_in() -> None:
    at = columns("Name,First Name,Last Name")
    assert read(at, {"Name": "Dr. Ada King", "First Name": "Ada", "Last Name": "Lovelace"}).full_name == "Dr. Ada King"
    assert read(at, {"Name": " ", "First Name": " Ada ", "Last Name": "Lovelace"}).full_name == "Ada Lovelace"
    assert read(at, {"Name": "", "First Name": "", "Last Name": "Lovelace"}).full_name == "Lovelace"


def test_google_labels_say_which_phone_is_the_mobile() -> None:
    header = "Phone 1 - Label,Phone 1 - Value,Phone 2 - Label,Phone 2 - Value,Phone 3 - Label,Phone 3 - Value"
    record = {
        "Phone 1 - Label": "Work",
        "Phone 1 - Value": "1",
        "Phone 2 - Label": "Work Fax",
        "Phone 2 - Value": "2",
        "Phone 3 - Label": "* Mobile",
        "Phone 3 - Value": "3",
    }
    assert read(columns(header), record).phones == (("Phone 3 - Value", "3"), ("Phone 1 - Value", "1"))


@pytest.mark.parametrize(
    ("header", "record", "name"),
    [
        ("ID,Client,Phone", {"Client": "Ada Vane"}, "Ada Vane"),
        ("ID,Customer,Phone", {"Customer": "Ada Vane"}, "Ada Vane"),
        ("ID,Contact,Phone", {"Contact": "n/a"}, ""),
        ("ID,Lead,Phone", {"Lead": "yes"}, ""),
        ("ID,Customer,Phone", {"Customer": "1042"}, ""),
        ("Client,First Name,Last Name", {"Client": "Acme", "First Name": "Ada", "Last Name": "Vane"}, "Ada Vane"),
        ("Client,Last Name", {"Client": "Acme", "Last Name": "Vane"}, "Vane"),
        ("Client,Client Name", {"Client": "Acme", "Client Name": "Ada Vane"}, "Ada Vane"),
        ("Person,Name", {"Person": "7", "Name": "Ada Vane"}, "Ada Vane"),
        ("first_name,last_name", {"first_name": "Ada", "last_name": "\\N"}, "Ada"),
        ("first_name,last_name", {"first_name": '="Ada"', "last_name": "#NAME?"}, "Ada"),
        ("name", {"name": "undefined undefined"}, ""),
        ("Förnamn,Efternamn", {"Förnamn": "Åsa", "Efternamn": "Öberg"}, "Åsa Öberg"),
        ("Fornavn,Etternavn", {"Fornavn": "Kari", "Etternavn": "Moe"}, "Kari Moe"),
        ("Fornavn,Efternavn", {"Fornavn": "Ida", "Efternavn": "Juhl"}, "Ida Juhl"),
        ("name", {"name": '=HYPERLINK("http://example.com","Ada")'}, ""),
        ("name", {"name": "=cmd|'/C calc'!A0"}, ""),
        ("first_name,last_name", {"first_name": "=B2", "last_name": "Vane"}, "Vane"),
    ],
)
def test_names(header: str, record: dict[str, Any], name: str) -> None:
    assert read(columns(header), record).full_name == name


@pytest.mark.parametrize(
    ("value", "phone"),
    [
        (" +1 415 555 2671 ", "+1 415 555 2671"),
        (4155552671, "4155552671"),
        (4155552671.0, "4155552671"),
        (14155552671.0, "14155552671"),
        (4155552800.0, "4.155553e+09"),  # a 32-bit float, as PostgreSQL shows it
        (4155552768.0, "4.155553e+09"),  # the same, converted by the driver
        (4155550000.0, "4.155550e+09"),  # the same, as MySQL shows it
        (4155552671.5, "4.155553e+09"),
        (1e16, "1.000000e+16"),
        ('="+14155552671"', "+14155552671"),
        ("=+14155552671", "+14155552671"),
        ('="n/a"', ""),
        ('=""', ""),
        ("=A1+1", "=A1+1"),
        ("", ""),
        ("n/a", ""),
        ("N/A", ""),
        ("-", ""),
        ("—", ""),
        ("None", ""),
        ("NULL", ""),
        ("unknown", ""),
        ("Not provided", ""),
        (None, ""),
        (True, ""),
        (float("nan"), ""),
        (float("inf"), ""),
        (10**400, ""),
        (["+14155552671"], ""),
        ({"number": 1}, ""),
        (b"1", ""),
    ],
)
def test_values(value: Any, phone: str) -> None:
    assert read(columns("phone"), {"phone": value}).phones == ((("phone", phone),) if phone else ())


@pytest.mark.parametrize(
    ("first", "last", "name"),
    [
        ("Jennifer", "Null", "Jennifer Null"),
        ("Na", "Li", "Na Li"),
        ("null", "NULL", ""),
        ("Unknown", "", ""),
        ("Ada", "n/a", "Ada"),
    ],
)
def test_people_may_be_called_like_placeholders(first: str, last: str, name: str) -> None:
    assert read(columns("first_name,last_name"), {"first_name": first, "last_name": last}).full_name == name


@given(st.integers(10**9, 10**13))
def test_a_phone_that_was_stored_as_a_32_bit_float_is_never_taken(number: int) -> None:
    """Whatever the database or the driver makes of the float: its text is refused, not a wrong number."""
    (stored,) = struct.unpack("f", struct.pack("f", number))
    for shown in (stored, *(float(f"{stored:.{digits}e}") for digits in range(5, 9))):
        assert "e" in read(columns("phone"), {"phone": shown}).phones[0][1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
)


@given(st.dictionaries(st.sampled_from("phone mobile name first_name email e-mail1value Phone".split()), json_values))
def test_reading_never_raises(record: dict[str, Any]) -> None:
    fields = read(columns("phone,mobile,name,first_name,email"), record)
    assert all(text for _, text in fields.phones)


@given(st.lists(st.text(), unique=True, max_size=8), st.lists(st.text(), max_size=3))
def test_any_header_can_be_searched(header: list[str], wanted: list[str]) -> None:
    at = find_columns(tuple(header), FieldMapping(phone=tuple(wanted)))
    assert {*at.phones, *at.full_name, *at.name_parts, *at.emails} <= set(header)
