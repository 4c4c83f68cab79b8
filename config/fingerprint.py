"""A short hash of the settings that decide how a connection's records are read."""

from __future__ import annotations

import hashlib
import json

from config.models import Connection

_READING = {"adapter", "account", "fields", "default_region", "clear_empty", "priority"}
# The other fields are read when a text is about to be sent.
_READ_FIELDS = ("phone", "full_name", "email")


def fingerprint(connection: Connection) -> str:
    """Return 16 hex digits. They change exactly when a setting changes that affects what is read from a record.

    They are part of record hashes, so that a changed mapping or region applies to all records, not only to records
    that change later. Options are left out: they choose which records are read, and hold secrets.
    """
    settings = connection.model_dump(mode="json", include=_READING)
    settings["fields"] = {key: settings["fields"][key] for key in _READ_FIELDS}
    canonical = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
