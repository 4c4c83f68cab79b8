"""Rules for the channels of alerts: known alerts, encryption on the way, a secret that can sign, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

from config.alert_kinds import AlertKind
from config.errors import ConfigProblem
from config.problems import did_you_mean, dotted
from config.raw import Table, text_or_secret, texts_of
from config.redact import HIDDEN, redact_value
from config.subscriber_checks import signing_secret_problems
from config.types import is_loopback

_ADDRESS = re.compile(r"[^@\s<>,;:\"]+@[^@\s<>,;:\"]+")


def channel_problems(name: str, channel: Table, context: object) -> Iterator[ConfigProblem]:
    """Yield every broken rule of one ``[alerts.channels.<name>]``."""
    key = ["alerts", "channels", name]
    for event in texts_of(channel.get("events")):
        if not any(fnmatchcase(known, event) for known in AlertKind):
            remedy = did_you_mean(event, "alerts", AlertKind)
            yield ConfigProblem(dotted([*key, "events"]), redact_value(event), "is not an alert", remedy)
    match channel.get("kind"):
        case "email":
            yield from _email(key, channel)
        case "slack":
            url = text_or_secret(channel.get("webhook_url"), context)
            yield from _url(key, "webhook_url", url, channel, shown=HIDDEN)
        case "webhook":
            url = text_or_secret(channel.get("url"), context)
            yield from _url(key, "url", url, channel, shown=redact_value(url) or HIDDEN)
            yield from signing_secret_problems(key, channel, context)


def _email(key: list[str], channel: Table) -> Iterator[ConfigProblem]:
    for field in ("sender", "to"):
        for address in texts_of(channel.get(field)):
            if not _ADDRESS.fullmatch(address):
                remedy = 'write the address alone, such as "ops@example.com"'
                yield ConfigProblem(dotted([*key, field]), redact_value(address), "is not an e-mail address", remedy)
    for one, other in (("username", "password"), ("password", "username")):
        if one in channel and other not in channel:
            yield ConfigProblem(dotted([*key, other]), None, f"is missing: {one} needs it", f"add it, or remove {one}")
    host = channel.get("host")
    here = isinstance(host, str) and is_loopback(f"smtp://{f'[{host}]' if ':' in host else host}")
    if channel.get("security") == "none" and not here and channel.get("allow_unencrypted") is not True:
        message = "would send alerts, and the password, unencrypted to another machine"
        remedy = 'write "starttls" or "tls", or allow_unencrypted = true'
        yield ConfigProblem(dotted([*key, "security"]), "none", message, remedy)


def _url(key: list[str], field: str, url: str | None, channel: Table, *, shown: str) -> Iterator[ConfigProblem]:
    if url is None or url.startswith("https://"):
        return
    if not url.startswith("http://"):
        yield ConfigProblem(dotted([*key, field]), shown, "is not a URL", "write https://, host and path")
    elif not is_loopback(url) and channel.get("allow_http") is not True:
        message = "would send alerts unencrypted to another machine"
        yield ConfigProblem(dotted([*key, field]), shown, message, "write https://, or allow_http = true")
