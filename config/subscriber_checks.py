"""Rules for subscribers: a url or a task, known events and accounts, and a secret that can sign."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator
from fnmatch import fnmatchcase

from config.errors import ConfigProblem
from config.event_types import EventType
from config.problems import did_you_mean, dotted, unknown_name
from config.raw import Table, text_or_secret, texts_of
from config.redact import HIDDEN, redact_value
from config.types import is_loopback

FEWEST_SECRET_BYTES = 24
"""The Standard Webhooks specification asks for 24 to 64 bytes."""

_MAKE_ONE = 'make one:  printf "whsec_%s" "$(openssl rand -base64 24)"'


def subscriber_problems(
    name: str, subscriber: Table, accounts: Collection[str], context: object
) -> Iterator[ConfigProblem]:
    """Yield every broken rule of one ``[subscribers.<name>]``."""
    key = ["subscribers", name]
    yield from _receiver(key, subscriber)
    for event in texts_of(subscriber.get("events")):
        if not any(fnmatchcase(known, event) for known in EventType):
            remedy = did_you_mean(event, "events", EventType)
            yield ConfigProblem(dotted([*key, "events"]), redact_value(event), "is not an event", remedy)
    for account in texts_of(subscriber.get("accounts")):
        yield from unknown_name(dotted([*key, "accounts"]), account, "account", accounts)
    yield from signing_secret_problems(key, subscriber, context)


def signing_secret_problems(key: list[str], table: Table, context: object) -> Iterator[ConfigProblem]:
    """Yield the problem of a ``secret`` that cannot sign webhooks."""
    secret = text_or_secret(table.get("secret"), context)
    if secret is not None and not _can_sign(secret):
        message = f'is not a signing secret: "whsec_" and at least {FEWEST_SECRET_BYTES} bytes in base64'
        yield ConfigProblem(dotted([*key, "secret"]), HIDDEN, message, _MAKE_ONE)


def _receiver(key: list[str], subscriber: Table) -> Iterator[ConfigProblem]:
    url, task = subscriber.get("url"), subscriber.get("task")
    if (url is None) == (task is None):
        remedy = 'write  url = "https://..."  with a secret, or  task = "shop.on_text"'
        yield ConfigProblem(dotted(key), None, "needs either a url or a task", remedy)
    if url is not None and "secret" not in subscriber:
        message = "is missing: receivers use it to verify that events come from here"
        yield ConfigProblem(dotted([*key, "secret"]), None, message, _MAKE_ONE)
    unencrypted = isinstance(url, str) and url.startswith("http://") and not is_loopback(url)
    if unencrypted and subscriber.get("allow_http") is not True:
        message = "would send texts unencrypted to another machine"
        yield ConfigProblem(dotted([*key, "url"]), redact_value(url), message, "write https://, or allow_http = true")
    if url is not None and "queue" in subscriber:
        queue = redact_value(subscriber["queue"])
        yield ConfigProblem(dotted([*key, "queue"]), queue, "cannot be used with a url", "remove it")


def _can_sign(secret: str) -> bool:
    if not secret.startswith("whsec_"):
        return False
    try:
        return len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) >= FEWEST_SECRET_BYTES
    except (binascii.Error, ValueError):
        return False
