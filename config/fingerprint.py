"""A short hash of the settings that decide how a connection's records are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from config.models import Connection

_READING = {"adapter", "account", "fields", "default_region", "clear_empty", "priority"}
# What the records say about texts is kept in the ledger of consents, if the connection asks for it.
_STATED = ("consent", "do_not_text")
# The other fields are read when a text is about to be sent.
_READ_FIELDS = ("phone", "full_name", "email", "country")
# Keys that came later: left out while they are empty, so that an upgrade alone changes no fingerprint.
_LATER_FIELDS = ("country",)


def fingerprint(connection: Connection) -> str:
    """Return 16 hex digits. They change exactly when a setting changes that affects what is read from a record.

    They are part of record hashes, so that a changed mapping or region applies to all records, not only to records
    that change later. Options are left out: they choose which records are read, and hold secrets.
    """
    settings = connection.model_dump(mode="json", include=_READING)
    fields = settings["fields"]
    settings["fields"] = {key: fields[key] for key in _READ_FIELDS if fields[key] or key not in _LATER_FIELDS}
    return _hash(settings | _stated(connection))


def source_fingerprint(connection: Connection, wanted: Iterable[str] | None) -> str:
    """Return 16 hex digits that change when a cursor of the connection no longer means what it did.

    That is when anything changes that decides which records are read, which of their fields, or what they mean:
    ``wanted`` are the fields that the configuration uses, None: all. Secrets do not count, so that a new token does not
    read everything again.
    """
    settings = connection.model_dump(mode="json", include={*_READING, "options", "store_fields"})
    return _hash(settings | _stated(connection) | {"wanted": None if wanted is None else sorted(wanted)})


def _stated(connection: Connection) -> dict[str, Any]:
    rules = connection.model_dump(mode="json", include={*_STATED})
    return {name: rule for name, rule in rules.items() if rule is not None}


def _hash(settings: dict[str, Any]) -> str:
    canonical = json.dumps(settings, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
