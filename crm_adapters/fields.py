"""Finds the phone, name, email, country and id columns of a CRM export or table by their usual names.

Case, accents and everything but letters and digits are ignored: ``E-mail 1 - Value`` is ``email1value``. The names are
those of the exports of HubSpot, Salesforce, Google Contacts, Outlook, Pipedrive and Zoho, and of plain databases, in
English, German, French, Spanish, Portuguese, Italian and Dutch. An explicit mapping overrides them.
"""

from __future__ import annotations

import difflib
import math
import re
import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from config.fields import FieldMapping
from crm_adapters.entities import without_entities
from crm_adapters.placeholders import is_no_name, is_placeholder

Properties: TypeAlias = Mapping[str, Any]
"""A record as the CRM gave it; see ``crm_adapters.base``."""


class ContactFields(NamedTuple):
    """The contact fields of a record, as raw text: nothing is normalised.

    ``phones`` are the candidates in order of preference, as (field name, text); empty ones are left out.
    """

    phones: tuple[tuple[str, str], ...] = ()
    full_name: str = ""
    email: str = ""


_MOBILE = """
    mobile mobilephone mobilephonenumber mobilenumber mobileno phonemobile telmobile telephonemobile sms smsnumber
    cell cellphone cellphonenumber cellnumber cellular cellularphone phonecell whatsapp whatsappphonenumber
    whatsappnumber
    mobil mobiltelefon mobilnummer mobiltelefonnummer mobilfunk mobilfunknummer telefonmobil handy handynummer
    portable telportable telephoneportable numeroportable numerodeportable
    movil telefonomovil telmovil numeromovil celular telefonocelular numerocelular
    telemovel numerodetelemovel telefonecelular numerodecelular
    cellulare telefonocellulare numerocellulare numerodicellulare telefonomobile
    mobiel mobielnummer mobielenummer mobieltelefoon mobieletelefoon mobieletelefoonnummer telefoonmobiel gsm gsmnummer
""".split()
_PHONE = """
    phone phonenumber phoneno primaryphone phoneprimary mainphone telephone telephonenumber tel msisdn contactnumber
    telefon telefonnummer telefonnr rufnummer numerodetelephone numerotelephone telefono numerodetelefono
    telefonoprincipal
    telefone numerodetelefone telefoneprincipal numeroditelefono numerotelefono recapitotelefonico
    telefoon telefoonnummer telefoonnr telnr
""".split()
_OTHER_PHONES = """
    homephone homephonenumber phonehome telefonprivat privattelefon telephonedomicile telephonepersonnel telefonocasa
    telefonoparticular telefonopersonal businessphone workphone workphonenumber officephone phonework phoneoffice
    directphone telefongeschaftlich telefongeschaeftlich telefondienstlich telefonarbeit telephonebureau
    telephonetravail
    telephoneprofessionnel telefonotrabajo telefonooficina otherphone phoneother alternatephone secondaryphone
    telefoneresidencial telefonecomercial telefonetrabalho telefonoabitazione telefonoufficio telefonolavoro
    telefoonthuis telefoonprive telefoonwerk telefoonzakelijk
""".split()
_FULL_NAME = """
    fullname displayname name vollstandigername nomcomplet nomprenom nombrecompleto nombreyapellidos
    nomecompleto nomeesobrenome nomeecognome nominativo volledigenaam naam
""".split()
_FIRST_NAME = """
    firstname givenname forename fname vorname prenom nombre nombres nombredepila primernombre
    nome primeironome voornaam roepnaam fornamn fornavn
""".split()
_MIDDLE_NAME = """
    middlename additionalname secondname zweitervorname deuxiemeprenom segundonombre
    nomedomeio segundonome secondonome tussenvoegsel
""".split()
_LAST_NAME = """
    lastname familyname surname lname nachname familienname zuname nomdefamille apellidos apellido
    sobrenome ultimonome cognome achternaam familienaam efternamn efternavn etternavn
""".split()
_WHOLE_IF_ALONE = ("nom", "nombre", "nome")
"""Columns that hold the whole name if no other column holds a part of it."""
_EMAIL = """
    email emailaddress primaryemail emailprimary emailvalue mail mailaddress emailwork workemail businessemail emailhome
    homeemail personalemail emailpersonal emailother mailadresse emailadresse courriel adressemail adresseemail
    adresseelectronique adressedemessagerie correo correoelectronico direcciondecorreo direcciondecorreoelectronico
    enderecodeemail correioeletronico emailprincipal indirizzoemail postaelettronica indirizzodipostaelettronica
    emailadres mailadres
""".split()
_ID = """
    recordid hsobjectid contactid personid id externalid customerid clientid leadid userid uid uuid guid
    customernumber kundennummer kundennr kontaktid numeroclient idcliente
    iddocliente codigocliente codigodocliente numerodocliente idcontato idcontacto
    codicecliente numerocliente idcontatto klantnummer klantnr klantid relatienummer debiteurnummer
""".split()
_PHONE_COUNTRY = ("countrycode", "country", "callingcode", "dialcode", "dialingcode")
_COUNTRY = "country countryregion land pays pais paese".split()

# If the first name's column has one of these names, a plain "Name" next to it is the family name.
_LAST_NAME_BESIDE = {"vorname": "name", "prenom": "nom", "voornaam": "naam"}
# Pipedrive writes "Person - Phone", others "Contact Email" or "Customer Name".
_PREFIXES = ("person", "contact", "customer", "client", "lead")
# A column that is called just "Client" holds the name, if no other column does and it has no tick or number in it.
_TICKS = frozenset("yes no true false ja nein oui non si y n x on off".split())

HEADERS_KEPT = 1000
# Spreadsheets are made to keep a cell as text by writing it as a formula: ="+14155552671"
_TEXT_FORMULA = re.compile(r'=\s*"((?:[^"]|"")*)"')
_NUMBER_FORMULA = re.compile(r"=\s*(\+?[0-9][0-9 ().-]*)")
_EXACT_DIGITS = 15
"""Decimal digits that every float keeps."""
_FLOAT32_EXACT = 2**24
"""A 32-bit float holds whole numbers up to here; larger ones only rounded."""

_REPEATED = re.compile(r" \([0-9]{1,4}\)$")

_MOBILE_LABELS = ("mobil", "cell", "handy", "portable", "movil", "iphone", "whatsapp")
_UNTEXTABLE_LABELS = ("fax", "pager")


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what. ``phones`` and ``emails`` are in order of preference.

    ``full_name`` are columns with a whole name each. If they are empty, ``name_parts`` are joined instead.
    ``labels`` pairs a phone column with the column that names the kind of phone (Google Contacts).
    ``phone_countries`` pairs one with the column that has its country or its calling code ("Phone Country Code").
    ``bare_name`` is a column such as "Client", which is read if the record has no other name.
    """

    phones: tuple[str, ...] = ()
    full_name: tuple[str, ...] = ()
    name_parts: tuple[str, ...] = ()
    emails: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    country: tuple[str, ...] = ()
    phone_countries: tuple[tuple[str, str], ...] = ()
    bare_name: tuple[str, ...] = ()

    @property
    def all(self) -> frozenset[str]:
        """Every column that is read."""
        beside = (column for _, column in (*self.labels, *self.phone_countries))
        names = (*self.full_name, *self.name_parts, *self.bare_name)
        return frozenset((*self.phones, *names, *self.emails, *beside, *self.country))


@lru_cache(maxsize=256)
def find_columns(header: tuple[str, ...], mapping: FieldMapping) -> Columns:
    """Return the columns of ``header`` that hold a contact: by the mapping, and by usual names where it has none.

    Names of the mapping that are not in the header are skipped; ``missing_columns`` returns them.
    """
    names = _by_folded_name(header)
    phones = _mapped(header, mapping.phone) if mapping.phone else tuple(_phones(names))
    full_name, parts = ((), _mapped(header, mapping.full_name)) if mapping.full_name else _name_columns(names)
    emails = _mapped(header, mapping.email) if mapping.email else tuple(_search(names, _numbered_email(_EMAIL)))
    labels = () if mapping.phone else tuple(_labels(names, phones))
    country = _mapped(header, mapping.country) if mapping.country else tuple(_search(names, _COUNTRY))
    bare = () if full_name or parts or mapping.full_name else tuple(_search(names, _PREFIXES))
    phone_countries = () if mapping.country else tuple(_phone_countries(names, phones))
    return Columns(phones, full_name, parts, emails, labels, country, phone_countries, bare)


class ColumnFinder:
    """Finds the columns of a contact for one mapping. The records of a source have few different headers."""

    def __init__(self, mapping: FieldMapping) -> None:
        self._mapping = mapping
        self._known: dict[tuple[str, ...], Columns] = {}
        self._last: tuple[tuple[str, ...], Columns] = ((), find_columns((), mapping))

    def of(self, properties: Properties) -> Columns:
        """Return the columns of a record; see ``find_columns``."""
        header = tuple(properties)
        last, columns = self._last
        if header == last:  # nearly always; a comparison costs less than a hash
            return columns
        known = self._known.get(header)
        if known is None:
            known = find_columns(header, self._mapping)
            if len(self._known) < HEADERS_KEPT:
                self._known[header] = known
        self._last = (header, known)
        return known


def find_id(header: tuple[str, ...]) -> str | None:
    """Return the column that identifies a record, by its usual names."""
    return next(_search(_by_folded_name(header), _ID), None)


def find_column(header: Iterable[str], name: str) -> str | None:
    """Return the column called ``name``, or else the only one that differs just in case, spaces or punctuation."""
    columns = list(header)
    if name in columns:
        return name
    alike = [column for column in columns if fold(column) == fold(name)]
    return alike[0] if len(alike) == 1 else None


def repeated_column(name: str, number: int) -> str:
    """Return the name of a column whose name other columns have, too: ``Phone (2)`` is the second ``Phone``."""
    return f"{name} ({number})"


def column_without_number(name: str) -> str:
    """Return the name that ``repeated_column`` was given, and any other name as it is."""
    return _REPEATED.sub("", name)


def missing_columns(header: tuple[str, ...], names: Iterable[str]) -> list[str]:
    """Return those of ``names`` that are not a column of ``header``."""
    return [name for name in names if find_column(header, name) is None]


def nearest_columns(header: Iterable[str], name: str) -> list[str]:
    """Return at most three columns with names similar to ``name``, best first."""
    by_fold = {fold(column): column for column in header}
    return [by_fold[near] for near in difflib.get_close_matches(fold(name), by_fold, n=3, cutoff=0.5)]


def read(columns: Columns, properties: Properties) -> ContactFields:
    """Return the contact fields of a record. Placeholders, and values that are not text or numbers, count as empty."""
    name = first_filled_column(columns.full_name, properties, name_text)
    name = name or " ".join([part for column in columns.name_parts if (part := name_text(properties.get(column)))])
    name = name or first_filled_column(columns.bare_name, properties, _bare_name)
    email = first_filled_column(columns.emails, properties, clean_text)
    return ContactFields(tuple(_phone_values(columns, properties)), name, email)


def fold(name: str) -> str:
    """Return a name in lower case, without accents, and with letters and digits only."""
    decomposed = unicodedata.normalize("NFKD", name.casefold())
    return "".join(character for character in decomposed if character.isalnum())


@lru_cache(maxsize=4096)
def is_name_column(column: str) -> bool:
    """Return True if a column holds a name, or a part of one, by its usual names: ``First Name``, ``Vorname``."""
    folded = fold(column)
    return folded.endswith(("name", "naam")) or any(
        folded.removeprefix(prefix) in names
        for prefix in ("", *_PREFIXES)
        for names in (_FULL_NAME, _FIRST_NAME, _MIDDLE_NAME, _LAST_NAME)
    )


def _by_folded_name(header: tuple[str, ...]) -> dict[str, str]:
    """Map folded names to columns; the first column with a name counts. Prefixed names count without prefix, too."""
    names: dict[str, str] = {}
    for column in header:
        names.setdefault(fold(column), column)
    for name, column in list(names.items()):
        for prefix in _PREFIXES:
            if name.startswith(prefix) and name != prefix:
                names.setdefault(name.removeprefix(prefix), column)
    return names


def _search(names: dict[str, str], wanted: Iterable[str]) -> Iterator[str]:
    """Yield the columns with the wanted names, in the order of those names, each once."""
    yield from dict.fromkeys(names[name] for name in wanted if name in names)


def _phones(names: dict[str, str]) -> Iterator[str]:
    values = [f"phone{number}value" for number in range(1, 10)]
    return _search(names, [*_numbered(_MOBILE), *_numbered(_PHONE), *values, *_numbered(_OTHER_PHONES)])


def _numbered(wanted: Iterable[str]) -> Iterator[str]:
    for name in wanted:
        yield from (name, f"{name}1", f"{name}2", f"{name}3")


def _numbered_email(wanted: Iterable[str]) -> Iterator[str]:
    yield from _numbered(wanted)
    for number in range(1, 10):
        yield from (f"email{number}value", f"email{number}address")


def _name_columns(names: dict[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of whole names, and the columns of name parts in order."""
    last = next(_search(names, _LAST_NAME), None)
    first_name = next((name for name in _FIRST_NAME if name in names), "")
    taken = _LAST_NAME_BESIDE.get(first_name, "")
    if last is None and taken in names:
        last = names[taken]
    whole = tuple(column for column in _search(names, _FULL_NAME) if column != last)
    if not whole and last is None and first_name in ("", *_WHOLE_IF_ALONE):
        return tuple(_search(names, _WHOLE_IF_ALONE)), ()
    parts = (names.get(first_name), next(_search(names, _MIDDLE_NAME), None), last)
    return whole, tuple(part for part in parts if part is not None)


def _labels(names: dict[str, str], phones: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for number in range(1, 10):
        value = names.get(f"phone{number}value")
        label = names.get(f"phone{number}label") or names.get(f"phone{number}type")
        if value in phones and label is not None:
            yield value, label


def _phone_countries(names: dict[str, str], phones: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Pair phone columns with the columns of their country: "Mobile" and "Mobile Country"."""
    for phone in phones:
        bases = dict.fromkeys((fold(phone), fold(phone).removesuffix("number")))
        for beside in _search(names, [base + ending for ending in _PHONE_COUNTRY for base in bases]):
            yield phone, beside


def read_country(columns: Columns, properties: Properties, phone: str) -> tuple[str, str]:
    """Return (column, country) of the person whose number is in the column ``phone``; two empty texts if unknown."""
    for of, column in columns.phone_countries:
        if of == phone and (text := clean_text(properties.get(column))):
            return column, f"+{text}" if text.isdecimal() else text  # a number beside a phone is a calling code
    for column in columns.country:
        if text := clean_text(properties.get(column)):
            return column, text
    return "", ""


def _mapped(header: tuple[str, ...], wanted: Iterable[str]) -> tuple[str, ...]:
    found = (find_column(header, name) for name in wanted)
    return tuple(column for column in found if column is not None)


def first_filled_column(columns: Iterable[str], properties: Properties, clean: Callable[[Any], str]) -> str:
    """Return the value, cleaned, of the first of these columns that is not empty."""
    for column in columns:
        if text := clean(properties.get(column)):
            return text
    return ""


def _phone_values(columns: Columns, properties: Properties) -> list[tuple[str, str]]:
    """Return the phones of a record, best first: those labelled as mobile, then in the order of the columns."""
    values = [(column, text) for column in columns.phones if (text := phone_text(properties.get(column)))]
    if not columns.labels:
        return values
    labels = {phone: fold(clean_text(properties.get(label))) for phone, label in columns.labels}
    textable = [pair for pair in values if not _mentions(labels.get(pair[0], ""), _UNTEXTABLE_LABELS)]
    return sorted(textable, key=lambda pair: not _mentions(labels.get(pair[0], ""), _MOBILE_LABELS))


def _mentions(label: str, kinds: tuple[str, ...]) -> bool:
    return any(kind in label for kind in kinds)


def clean_text(value: Any) -> str:
    """Return an email address, a country or a label as stripped text.

    Placeholders ("n/a", "none") and values that are neither text nor number are empty. None of these is ever a
    person's name, so ``Null`` is a placeholder here too.
    """
    text = plain_text(value)
    if "@" in text:  # as ``is_placeholder`` does, without the cost of folding
        return text
    return "" if is_placeholder(text.casefold()) else text


def phone_text(value: Any) -> str:
    """Return a phone number as stripped text, as ``clean_text`` does.

    A float that cannot hold the digits of a phone number is returned in scientific notation, which is never accepted.
    """
    if isinstance(value, float) and _lost_digits(value):
        return f"{value:e}"
    return clean_text(value)


def name_text(value: Any) -> str:
    """Return a name, or a part of one, as stripped text. Placeholders and formulas of spreadsheets are empty."""
    text = plain_text(value)
    if text[:1] == "=":
        return ""
    if "&" in text:
        text = without_entities(text).strip()
    return "" if is_no_name(text) else text


def plain_text(value: Any) -> str:
    """Return a text or a number as stripped text, and anything else as empty. Databases may store phones as numbers."""
    if isinstance(value, str):
        text = value.strip()
        return text if text[:1] != "=" else without_formula(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if not abs(value) < 1e20:  # longer than any phone number, infinite, or not a number
        return ""
    return str(int(value)) if value == int(value) else str(value)


def without_formula(text: str) -> str:
    """Return ``+14155552671`` for ``="+14155552671"``, and any other text as it is."""
    if match := _TEXT_FORMULA.fullmatch(text):
        return match[1].replace('""', '"').strip()
    match = _NUMBER_FORMULA.fullmatch(text)
    return match[1].strip() if match else text


def _bare_name(value: Any) -> str:
    text = name_text(value)
    return text if text.casefold() not in _TICKS and any(map(str.isalpha, text)) else ""


def _lost_digits(value: float) -> bool:
    """Return True if a float may have been rounded: it was stored with 32 bits, or has more than 15 digits.

    A 32-bit float arrives as it is, or as a decimal of six to nine digits that stands for it. One in a hundred other
    numbers looks like that, too.
    """
    if not value.is_integer():
        return math.isfinite(value)
    if abs(value) < _FLOAT32_EXACT:
        return False
    if abs(value) >= 10**_EXACT_DIGITS or float(f"{value:.6e}") == value:
        return True
    (stored,) = struct.unpack("f", struct.pack("f", value))
    return value in (stored, float(f"{stored:.7e}"), float(f"{stored:.8e}"))
