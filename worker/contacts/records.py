"""Prepares a CRM record for the decision: hashes it as it came, then normalises its fields."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC
from functools import cache
from typing import Any
from urllib.parse import unquote

import orjson

from config.fields import is_expression
from crm_adapters.base import CONTACT, ContactChange, Properties
from worker.contacts.mapping import MappedRecord, RecordMapping, UnfilledExpression
from worker.core.errors import described
from worker.core.phones import Phone, parse_phone
from worker.core.regions import region_of

NAME_LIMIT = 200
ID_LIMIT = 255  # longer ones do not fit into the index of every database
KEY_LIMIT = 300
EMAIL_LIMIT = 254  # RFC 5321, the longest address that can receive mail
TEXT_LIMIT = 1000
EXCERPT = 60
# Longer values are cut before they are cleaned, so that a value of megabytes takes no time.
NAME_LONGEST, EMAIL_LONGEST = 2000, 2000

_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_DISPLAYED = re.compile(r'(?:"[^"<>]*"\s*|[^<>@,;"]*)<([^<>]+)>')
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
_SPACES = re.compile(r"\s+")


class UnusableRecord(Exception):
    """This record cannot be kept as it is. The message says why, for a person."""


@dataclass(slots=True)  # not frozen: that would make each of a million more expensive
class NormalisedRecord:
    """A changed record ready for matching. ``canonical`` is its properties as JSON in UTF-8.

    Exactly one of ``phone`` and ``problem`` (a code and a reason) is set, and neither for a deletion or for a record
    that belongs to a person. ``ignored_email``
    is an email that is not an address: the contact is kept without it.
    """

    change: ContactChange
    canonical: bytes
    hash: bytes
    phone: str | None = None
    problem: tuple[str, str] | None = None
    full_name: str = ""
    email: str = ""
    ignored_email: str = ""

    @property
    def external_id(self) -> str:
        """The CRM's identifier."""
        return self.change.external_id


OWN_NUMBER = "holds a number that an account sends from; give the number of a person"


def digest_record(change: ContactChange, properties: Properties, salt: bytes) -> tuple[bytes, bytes]:
    """Return (canonical properties, hash) of a record, of which ``properties`` are stored.

    ``salt`` stands for the rules by which records are read: other rules give another hash. Raises UnusableRecord when
    the record cannot be stored as text.
    """
    external_id, _, _, deleted, merged_into, _, kind, person = change
    if not external_id or "\x00" in external_id:
        raise UnusableRecord("it has no usable identifier")
    if len(external_id) > ID_LIMIT:
        raise UnusableRecord(
            f"its identifier has {len(external_id)} characters, at most {ID_LIMIT} can be kept;"
            " name the CRM's own id field as the identifier"
        )
    try:
        # The passthrough option refuses what is not JSON (dates, sets) instead of guessing a format.
        canonical = orjson.dumps(properties, option=_CANONICAL)
        if not external_id.isascii():
            external_id.encode()
    except (TypeError, ValueError) as error:
        raise UnusableRecord(f"it cannot be stored as text ({error})") from None
    digest = _salted(salt).copy()
    digest.update(canonical)
    if deleted:
        digest.update(b"deleted")
        digest.update((merged_into or "").encode())
    if kind != CONTACT or person is not None:
        digest.update(f"{kind}\x00{person or ''}".encode())
    return canonical, digest.digest()


@cache
def _salted(salt: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16, key=salt)


def rejection_key(text: str) -> str:
    """Return the key of a rejected record: ``text`` as far as a database can keep it, different for each record."""
    key = _storable(text)
    if len(key) <= KEY_LIMIT:
        return key
    return f"{key[:KEY_LIMIT]}... {hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"


def storable_text(text: str) -> str:
    """Return a text about a record, for a person, as far as a database can keep it."""
    return _storable(text[:TEXT_LIMIT])


def _storable(text: str) -> str:
    return text.replace("\x00", "").encode(errors="replace").decode()


def failure_reason(error: Exception) -> str:
    """Return why a record was rejected that raised an unexpected error. The error's text may hold secrets."""
    return (
        f"it could not be processed, unlike the other records ({described(error)}); correct the record in the CRM, or "
        "report this if nothing is wrong with it"
    )


def normalise(
    change: ContactChange, properties: Properties, canonical: bytes, digest: bytes, mapping: RecordMapping
) -> NormalisedRecord:
    """Convert the phone to E.164 and clean name and email. A phone that is not certain is a problem, never a guess.

    The result has only ``properties``, the part of the record that is stored. Whatever the record makes ``mapping``
    raise is a problem of this record alone. Raises UnusableRecord for what only an adapter can do wrong.
    """
    _check_change(change)
    if change.deleted:
        return NormalisedRecord(change, canonical, digest)
    kept = tuple.__new__(ContactChange, (change[0], properties, *change[2:]))  # in half the time of a call
    if change.kind != CONTACT:  # it has the phone, the name and the email of its person
        return NormalisedRecord(kept, canonical, digest)
    try:
        mapped = mapping.read(change.properties)
        phone, problem = choose_phone(mapped, mapping.default_region)
        if phone in mapping.own_numbers:
            phone, problem = None, ("own_number", f'the field "{mapped.fields.phones[0][0]}" {OWN_NUMBER}')
        email, ignored = clean_email(mapped.fields.email)
        name = clean_name(mapped.fields.full_name)
    except UnfilledExpression as error:
        return NormalisedRecord(kept, canonical, digest, problem=("expression", str(error)))
    except Exception as error:  # noqa: BLE001 - an adapter's code, and whatever the record holds
        return NormalisedRecord(kept, canonical, digest, problem=("failed", failure_reason(error)))
    return NormalisedRecord(kept, canonical, digest, phone, problem, name, email, ignored)


def _check_change(change: ContactChange) -> None:
    """Check the parts of a change that are stored beside its properties."""
    _, _, updated_at, _, merged_into, where, kind, person = change
    if kind == CONTACT and updated_at is None and merged_into is None and person is None and type(where) is str:
        return  # nearly every record of a listing
    for what, text in (("kind", change.kind), ("person", change.person), ("merged_into", change.merged_into)):
        if text is not None and not is_identifier(text):
            raise UnusableRecord(f"its {what} is not an identifier; correct the adapter")
    if not isinstance(change.where, str):
        raise UnusableRecord("the place where it was found is not text; correct the adapter")
    if change.updated_at is None:
        return
    try:
        known = change.updated_at.tzinfo is not None and change.updated_at.astimezone(UTC) is not None
    except (AttributeError, ValueError, OverflowError):
        known = False
    if not known:
        raise UnusableRecord("its time of change is not a time with a zone; correct the record or the adapter")


def is_identifier(value: Any) -> bool:
    """Return True if a value can be stored as an identifier."""
    return isinstance(value, str) and _storable(value) == value and len(value) <= ID_LIMIT


def choose_phone(record: MappedRecord, default_region: str | None) -> tuple[str | None, tuple[str, str] | None]:
    """Return (phone, None) or (None, (code, reason)). Only the first candidate counts.

    A mistyped mobile number is not replaced by the office number after it: that would text somebody else. The country
    of the record comes before ``default_region``. If it is not understood, a number needs "+".
    """
    if not record.fields.phones:
        return None, ("no_phone", "it has no phone number; add one in the CRM")
    field, text = record.fields.phones[0]
    country = region_of(record.country) if record.country else None
    unknown = bool(record.country) and country is None
    parsed = parse_phone(text, None if unknown else default_region, country)
    if isinstance(parsed, Phone):
        return parsed.e164, None
    if unknown and parsed.code == "no_country":
        return None, (
            "country",
            f'the field "{record.country_field}" holds "{record.country[:EXCERPT]}", which is not a known country, and '
            f'the field "{field}" has no country code; correct the country, or write the number with "+"',
        )
    what = f"the expression '{field}'" if is_expression(field) else f'the field "{field}"'
    return None, (parsed.code, f"{what} {parsed.reason}")


def clean_name(text: str) -> str:
    """Return the name on one line, in composed form, without control characters, cut to NAME_LIMIT characters."""
    text = text[:NAME_LONGEST]
    if text.isascii() and text.isprintable():
        return (_SPACES.sub(" ", text) if "  " in text else text).strip()[:NAME_LIMIT]
    visible = "".join(
        character
        for character in unicodedata.normalize("NFC", text)
        if unicodedata.category(character) not in ("Cc", "Cs") or character.isspace()
    )
    return _SPACES.sub(" ", visible).strip()[:NAME_LIMIT]


def clean_email(text: str) -> tuple[str, str]:
    """Return (address, "") for one address, ("", text) for anything else, and ("", "") for an empty text.

    ``mailto:``, a name before the address ("Ada <ada@example.org>"), quotation marks around it, punctuation after it
    and invisible characters are taken off.
    """
    if len(text) > EMAIL_LONGEST:
        return "", storable_text(text[:EMAIL_LIMIT])
    written = text.strip()
    visible = written if written.isascii() else "".join(one for one in written if unicodedata.category(one) != "Cf")
    stripped = visible.strip()
    if ">" in stripped and (match := _DISPLAYED.fullmatch(stripped)):
        stripped = match[1]
    if stripped[:7].lower() == "mailto:":
        stripped = unquote(stripped[7:].partition("?")[0]).strip()
    stripped = stripped.rstrip(".,; ").strip("'\" ")
    if not stripped or (_EMAIL.fullmatch(stripped) and len(stripped) <= EMAIL_LIMIT and stripped.isprintable()):
        return stripped, ""
    return "", storable_text(written[:EMAIL_LIMIT])
