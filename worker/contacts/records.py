"""A CRM record made ready to decide about: hashed as it came, then normalised."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import orjson

from crm_adapters.base import ContactChange, ContactFields, Properties
from worker.core.phones import PhoneProblem, parse_phone

NAME_LIMIT = 200
ID_LIMIT = 255  # longer ones do not fit into every database's index
KEY_LIMIT = 300
EMAIL_LIMIT = 254  # RFC 5321, the longest address that can receive mail

_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_CANONICAL = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
_SPACES = re.compile(r"\s+")


class UnusableRecord(Exception):
    """This record cannot be kept as it is; the text says why, for a person."""


@dataclass(slots=True)  # not frozen, which would make each of a million dearer
class HashedRecord:
    """A record with its hash, before any field of it is looked at. ``canonical`` is the properties, in UTF-8."""

    change: ContactChange
    canonical: bytes
    hash: bytes

    @property
    def json(self) -> str:
        """The properties as canonical JSON."""
        return self.canonical.decode()


@dataclass(slots=True)  # not frozen for the same reason: a first sync makes one a record
class NormalisedRecord:
    """A changed record ready for matching. Exactly one of ``phone`` and ``problem`` is set; not for deletions.

    ``ignored_email`` is an email text that is no address: the contact goes on without it.
    """

    hashed: HashedRecord
    phone: str | None
    problem: tuple[str, str] | None
    full_name: str = ""
    email: str = ""
    ignored_email: str = ""

    @property
    def external_id(self) -> str:
        """The CRM's identifier."""
        return self.hashed.change.external_id

    @property
    def updated_at(self) -> datetime | None:
        """The CRM's own time of change."""
        return self.hashed.change.updated_at


def hash_record(change: ContactChange, salt: bytes) -> HashedRecord:
    """The record with its hash, see ``digest_record``."""
    return HashedRecord(change, *digest_record(change, salt))


def digest_record(change: ContactChange, salt: bytes) -> tuple[bytes, bytes]:
    """(Canonical properties, hash) of the record as the CRM gave it.

    ``salt`` stands for the reading rules: other rules, other hash. Raises UnusableRecord when the record cannot be
    stored as text at all.
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
        # Passthrough refuses what is not JSON (dates, sets) instead of guessing how to write it.
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
    """What a rejected record is filed under: ``text`` as far as a database can keep it, still one key a record."""
    key = text.replace("\x00", "").encode(errors="replace").decode()
    if len(key) <= KEY_LIMIT:
        return key
    return f"{key[:KEY_LIMIT]}... {hashlib.blake2b(key.encode(), digest_size=8).hexdigest()}"


def normalise(
    hashed: HashedRecord, read: Callable[[Properties], ContactFields], default_region: str | None
) -> NormalisedRecord:
    """Phone to E.164, name and email cleaned. A phone that is not certain is a problem, never a guess."""
    if hashed.change.deleted:
        return NormalisedRecord(hashed, None, None)
    fields = read(hashed.change.properties)
    email, ignored = clean_email(fields.email)
    phone, problem = choose_phone(fields.phones, default_region)
    return NormalisedRecord(hashed, phone, problem, clean_name(fields.full_name), email, ignored)


def choose_phone(
    candidates: tuple[tuple[str, str], ...], default_region: str | None
) -> tuple[str | None, tuple[str, str] | None]:
    """The first candidate decides: (phone, None) or (None, (code, reason)).

    A mistyped mobile number is not replaced by the office number behind it: that would text somebody else.
    """
    if not candidates:
        return None, ("no_phone", "it has no phone number; add one in the CRM")
    field, text = candidates[0]
    parsed = parse_phone(text, default_region)
    if isinstance(parsed, PhoneProblem):
        return None, (parsed.code, f'the field "{field}" {parsed.reason}')
    return parsed.e164, None


def clean_name(text: str) -> str:
    """One line in composed form without control characters, any script, at most NAME_LIMIT characters."""
    if text.isascii() and text.isprintable():
        return _SPACES.sub(" ", text).strip()[:NAME_LIMIT]
    visible = "".join(
        character
        for character in unicodedata.normalize("NFC", text)
        if unicodedata.category(character) != "Cc" or character.isspace()
    )
    return _SPACES.sub(" ", visible).strip()[:NAME_LIMIT]


def clean_email(text: str) -> tuple[str, str]:
    """(address, "") when it looks like one address, ("", text) when it is something else, ("", "") when empty."""
    stripped = text.strip()
    if not stripped or (_EMAIL.fullmatch(stripped) and len(stripped) <= EMAIL_LIMIT and stripped.isprintable()):
        return stripped, ""
    return "", stripped[:EMAIL_LIMIT]
