"""Checks subscribers beyond their types: events and accounts must exist, and the secret must be able to sign."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic_core import PydanticCustomError

from config.errors import Problem
from config.problems import did_you_mean, dotted
from config.redact import HIDDEN, shown
from config.types import resolve_reference

EVENTS = (
    "message.received",
    "message.sent",
    "message.recorded",
    "message.delivered",
    "message.failed",
    "message.suppressed",
    "message.expired",
    "message.unknown",
    "contact.opted_out",
    "contact.opted_in",
)
"""The events that a subscriber may receive, see docs/forwarding.md."""

MIN_SECRET_BYTES = 24
"""The Standard Webhooks specification asks for 24 to 64 bytes."""


def subscriber_problems(
    name: str, subscriber: Mapping[str, Any], accounts: Collection[str], context: object
) -> Iterator[Problem]:
    """Yield what is wrong with one ``[subscribers.NAME]`` of a file's raw data."""
    key = ["subscribers", name]
    for event in _texts(subscriber.get("events")):
        if not any(fnmatchcase(known, event) for known in EVENTS):
            remedy = did_you_mean(event, "events", EVENTS)
            yield Problem(dotted([*key, "events"]), shown(event), "is not an event", remedy)
    for account in _texts(subscriber.get("accounts")):
        if account not in accounts:
            remedy = did_you_mean(account, "accounts", accounts)
            yield Problem(dotted([*key, "accounts"]), shown(account), "is not an account of this file", remedy)
    if not _signs(subscriber.get("secret"), context):
        message = f'is not a signing secret: "whsec_" and at least {MIN_SECRET_BYTES} bytes in base64'
        remedy = 'create one:  printf "whsec_%s" "$(openssl rand -base64 24)"'
        yield Problem(dotted([*key, "secret"]), HIDDEN, message, remedy)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


def _signs(secret: object, context: object) -> bool:
    """Return whether webhooks can be signed with it. Other rules check that it exists and can be read."""
    try:
        text = resolve_reference(secret, context) if isinstance(secret, dict) else secret
    except PydanticCustomError:
        return True
    if not isinstance(text, str):
        return True
    if not text.startswith("whsec_"):
        return False
    try:
        return len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) >= MIN_SECRET_BYTES
    except (binascii.Error, ValueError):
        return False
