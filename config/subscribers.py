"""What must hold of a subscriber beyond its types: that its events and accounts exist, and that its secret can sign."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from pydantic_core import PydanticCustomError

from config.errors import ConfigProblem
from config.problems import did_you_mean, dotted
from config.redact import HIDDEN, redact_value
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
"""What a subscriber may ask for, see docs/forwarding.md."""

FEWEST_SECRET_BYTES = 24
"""The Standard Webhooks specification asks for 24 to 64 bytes."""


def subscriber_problems(
    name: str, subscriber: Mapping[str, Any], accounts: Collection[str], context: object
) -> Iterator[ConfigProblem]:
    """What is wrong with one ``[subscribers.NAME]`` of a file's raw data."""
    key = ["subscribers", name]
    for event in _texts(subscriber.get("events")):
        if not any(fnmatchcase(known, event) for known in EVENTS):
            remedy = did_you_mean(event, "events", EVENTS)
            yield ConfigProblem(
                dotted([*key, "events"]), redact_value(event), "is no event, so it would never be heard of", remedy
            )
    for account in _texts(subscriber.get("accounts")):
        if account not in accounts:
            remedy = did_you_mean(account, "accounts", accounts)
            yield ConfigProblem(
                dotted([*key, "accounts"]), redact_value(account), "names no account of this file", remedy
            )
    if not _signs(subscriber.get("secret"), context):
        words = f'is no signing secret: "whsec_" and at least {FEWEST_SECRET_BYTES} bytes in base64'
        remedy = 'make one:  printf "whsec_%s" "$(openssl rand -base64 24)"'
        yield ConfigProblem(dotted([*key, "secret"]), HIDDEN, words, remedy)


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [one for one in values if isinstance(one, str)]


def _signs(secret: object, context: object) -> bool:
    """Whether webhooks can be signed with it; what is missing or cannot be read is another rule's matter."""
    try:
        text = resolve_reference(secret, context) if isinstance(secret, dict) else secret
    except PydanticCustomError:
        return True
    if not isinstance(text, str):
        return True
    if not text.startswith("whsec_"):
        return False
    try:
        return len(base64.b64decode(text.removeprefix("whsec_"), validate=True)) >= FEWEST_SECRET_BYTES
    except (binascii.Error, ValueError):
        return False
