"""What a server's own words may say to a person: one short line, without secrets and personal data. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

from config.redact import redact_secrets
from crm_adapters.http.records import value_at

LONGEST = 200

EMAIL = re.compile(r"[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
PHONE = re.compile(r"(?<![\w-])(?!\d{4}-\d\d-\d\d)\+?\(?\d(?:[ ()./-]{0,2}\d){6,14}(?![\w-])")
_BEARER = re.compile(r"(?i)\b(bearer|basic|token)\s+[A-Za-z0-9_\-+/=.:]{8,}")
_MESSAGES = (
    "message",
    "error_description",
    "error.message",
    "errors.0.message",
    "errors.0.detail",
    "0.message",
    "detail",
    "error",
    "error_info",
    "title",
    "errors.0",
)
"""Where APIs put their message, best first."""


def spoken(data: Any, secrets: Collection[str]) -> str:
    """Return the message in an error's JSON, fit for people; "" if there is none."""
    found = (value_at(data, path) for path in _MESSAGES)
    text = next((one for one in found if isinstance(one, str) and one.strip()), "")
    return one_line(text, secrets)


def one_line(text: str, secrets: Collection[str]) -> str:
    """Return ``text`` on one line, shortened, without the secrets, phone numbers and email addresses."""
    text = without_secrets(text, secrets)
    text = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    text = PHONE.sub("(number)", EMAIL.sub("(email)", text))
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """Remove the secrets, as they are and as they look in an address or in JSON, and whatever follows "Bearer"."""
    forms = {
        form for secret in secrets for form in (secret, quote(secret, safe=""), quote_plus(secret), _in_json(secret))
    }
    return _BEARER.sub(r"\1 (hidden)", redact_secrets(text, forms))


def field_names(data: Mapping[str, Any]) -> list[str]:
    """Return the names of a response's fields that cannot be a person's data."""
    return [name for name in data if isinstance(name, str) and _FIELD_NAME.fullmatch(name)]


_FIELD_NAME = re.compile(r"[A-Za-z_@$][\w@$.-]{0,39}")


def _in_json(secret: str) -> str:
    return json.dumps(secret)[1:-1]
