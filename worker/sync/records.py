"""A CRM record made ready to decide about: hashed as it came, then normalised."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson

from crm_adapters.base import ContactChange, ContactFields, Properties
from worker.phones import PhoneProblem, parse_phone

NAME_LIMIT = 200
EMAIL_LIMIT = 254  # RFC 5321, the longest address that can receive mail

_EMAIL = re.compile(r"[^@\s<>,;]+@[^@\s<>,;]+")
_SPACES = re.compile(r"\s+")


class UnusableRecord(Exception):
    """This record cannot be kept as it is; the text says why, for a person."""


@dataclass(frozen=True, slots=True)
class HashedRecord:
    """A record with its hash, before any field of it is looked at. ``json`` is the properties, canonical."""

    change: ContactChange
    json: str
    hash: bytes


@dataclass(frozen=True, slots=True)
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
    """Hash the record as the CRM gave it. ``salt`` stands for the reading rules: other rules, other hash.

    Raises UnusableRecord when the record cannot be stored as text at all.
    """
    if not change.external_id or "\x00" in change.external_id:
        raise UnusableRecord("it has no usable identifier")
    try:
        # Passthrough refuses what is not JSON (dates, sets) instead of guessing how to write it.
        canonical = orjson.dumps(change.properties, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)
        change.external_id.encode()
    except (TypeError, ValueError) as error:
        raise UnusableRecord(f"it cannot be stored as text ({error})") from None
    digest = hashlib.blake2b(canonical, digest_size=16, key=salt)
    if change.deleted:
        digest.update(b"deleted")
        digest.update((change.merged_into or "").encode())
    return HashedRecord(change, canonical.decode(), digest.digest())


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
