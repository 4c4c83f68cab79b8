"""A short stamp of the settings by which a connection's records are read."""

from __future__ import annotations

import hashlib
import json

from config.models import Connection

_READING = {"adapter", "account", "fields", "default_region", "clear_empty", "priority"}
# The others are looked up when a text is about to go.
_READ_FIELDS = ("phone", "full_name", "email")


def fingerprint(connection: Connection) -> str:
    """16 hex digits that change exactly when a setting changes that decides what a record becomes.

    Mixed into record hashes, so that a changed mapping or region applies to every record, not only to the next ones
    that change. Options are left out: they choose the records, and hold secrets.
    """
    settings = connection.model_dump(mode="json", include=_READING)
    settings["fields"] = {key: settings["fields"][key] for key in _READ_FIELDS}
    canonical = json.dumps(settings, sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(canonical.encode(), digest_size=8).hexdigest()
