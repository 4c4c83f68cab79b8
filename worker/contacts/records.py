"""Prepares a CRM record for the decision: hashes it as it came, then normalises its fields."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import orjson

from crm_adapters.base import ContactChange, ContactFields, Properties
from worker.core.phones import PhoneProblem, parse_phone

NAME_LIMIT = 200
ID_LIMIT = 255  # longer ones do not fit into the index of every database
KEY_LIMIT = 300
EMAIL_LIMIT = 254  # RFC 5321, the longest address that can receive mail

_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
_SPACES = re.compile(r"\s+")


class UnusableRecord(Exception):
    """This record cannot be kept as it is. The message says why, for a person."""


@dataclass(slots=True)  # not frozen: that would make each of a million more expensive
class NormalisedRecord:
    """A changed record ready for matching. ``canonical`` is its properties as JSON in UTF-8.

    Exactly one of ``phone`` and ``problem`` (a code and a reason) is set, and neither for a deletion. ``ignored_email``
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


def digest_record(change: ContactChange, salt: bytes) -> tuple[bytes, bytes]:
    """Return (canonical properties, hash) of the record as the CRM gave it.

    ``salt`` stands for the rules by which records are read: other rules give another hash. Raises UnusableRecord when
    the record cannot be stored as text.
    """
    external_id, properties, _, deleted, merged_into, _ = change
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
    return canonical, digest.digest()


@cache
def _salted(salt: bytes) -> hashlib.blake2b:
    return hashlib.blake2b(digest_size=16, key=salt)


def rejection_key(text: str) -> str:
    """Return the key of a rejected record: ``text`` as far as a database can keep it, different for each record."""
    key = text.replace("\x00", "").encode(errors="replace").decode()
    if len(key) <= KEY_LIMIT:
        return key
    return f"{key[:KEY_LIMIT]}... {hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"


def normalise(
    change: ContactChange,
    canonical: bytes,
    digest: bytes,
    read: Callable[[Properties], ContactFields],
    default_region: str | None,
) -> NormalisedRecord:
    """Convert the phone to E.164 and clean name and email. A phone that is not certain is a problem, never a guess."""
    if change.deleted:
        return NormalisedRecord(change, canonical, digest)
    fields = read(change.properties)
    email, ignored = clean_email(fields.email)
    phone, problem = choose_phone(fields.phones, default_region)
    return NormalisedRecord(change, canonical, digest, phone, problem, clean_name(fields.full_name), email, ignored)


def choose_phone(
    candidates: tuple[tuple[str, str], ...], default_region: str | None
) -> tuple[str | None, tuple[str, str] | None]:
    """Return (phone, None) or (None, (code, reason)). Only the first candidate counts.

    A mistyped mobile number is not replaced by the office number after it: that would text somebody else.
    """
    if not candidates:
        return None, ("no_phone", "it has no phone number; add one in the CRM")
    field, text = candidates[0]
    parsed = parse_phone(text, default_region)
    if isinstance(parsed, PhoneProblem):
        return None, (parsed.code, f'the field "{field}" {parsed.reason}')
    return parsed.e164, None


def clean_name(text: str) -> str:
    """Return the name on one line, in composed form, without control characters, cut to NAME_LIMIT characters."""
    if text.isascii() and text.isprintable():
        return _SPACES.sub(" ", text).strip()[:NAME_LIMIT]
    visible = "".join(
        character
        for character in unicodedata.normalize("NFC", text)
        if unicodedata.category(character) != "Cc" or character.isspace()
    )
    return _SPACES.sub(" ", visible).strip()[:NAME_LIMIT]


def clean_email(text: str) -> tuple[str, str]:
    """Return (address, "") for one address, ("", text) for anything else, and ("", "") for an empty text."""
    stripped = text.strip()
    if not stripped or (_EMAIL.fullmatch(stripped) and len(stripped) <= EMAIL_LIMIT and stripped.isprintable()):
        return stripped, ""
    return "", stripped[:EMAIL_LIMIT]
