"""What must hold between values. Runs on the file's raw data, so that one mistake does not hide the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from pydantic_core import PydanticCustomError

from config.errors import Problem
from config.models import DEFAULT_API_URL, DEFAULT_CREATE_URL
from config.problems import did_you_mean, dotted
from config.redact import HIDDEN, shown
from config.subscribers import subscriber_problems
from config.types import resolve_reference

# VirtualText itself gives up on a request after 30 s; who waits less cannot know whether a text went out.
PLATFORM_TIMEOUT_SECONDS = 30
SHORTEST_READ_TIMEOUT_SECONDS = PLATFORM_TIMEOUT_SECONDS + 1

Table: TypeAlias = Mapping[str, Any]

_HOUR = re.compile(r"\d\d:\d\d")
_PART_OF_A_URL = re.compile(r"[A-Za-z0-9._~-]+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_BASE_URLS = {"api_url": DEFAULT_API_URL, "create_url": DEFAULT_CREATE_URL}


def broken_rules(data: Table, context: object = None) -> Iterator[Problem]:
    """Every broken rule in a file's raw data. Values of the wrong type are passed over: the models report those."""
    for section in ("accounts", "connections", "triggers", "carriers", "subscribers"):
        for name in _section(data, section):
            yield from _bad_name(section, name)
    for name, account in _tables(data, "accounts"):
        yield from _clear_text_urls(name, account)
        yield from _short_timeout(name, account)
        yield from _one_url_only(name, account)
    yield from _shared_uids(data, context)
    yield from _relay_secrets(data, context)
    accounts, connections = dict(_tables(data, "accounts")), dict(_tables(data, "connections"))
    for name, connection in connections.items():
        key = dotted(["connections", name, "account"])
        yield from _unknown_name(key, connection.get("account"), "account", accounts)
    for name, carrier in _tables(data, "carriers"):
        key = dotted(["carriers", name, "account"])
        yield from _unknown_name(key, carrier.get("account"), "account", accounts)
        yield from _carrier_credentials(name, carrier)
    for name, subscriber in _tables(data, "subscribers"):
        yield from _subscriber(name, subscriber)
        yield from subscriber_problems(name, subscriber, accounts, context)
    yield from _hours_of_texts(_section(data, "policy"))
    for name, connection in connections.items():
        yield from _reported_field(name, connection)
    for name, trigger in _tables(data, "triggers"):
        yield from _watched_connections(name, trigger, connections)


def _section(data: Table, section: str) -> Table:
    found = data.get(section)
    return found if isinstance(found, dict) else {}


def _tables(data: Table, section: str) -> Iterator[tuple[str, Table]]:
    for name, table in _section(data, section).items():
        if isinstance(table, dict):
            yield name, table


def _bad_name(section: str, name: str) -> Iterator[Problem]:
    if not _NAME.fullmatch(name):
        remedy = "use letters, digits, - and _, at most 64, beginning with a letter or digit"
        yield Problem(dotted([section, name]), None, "is not a usable name", remedy)


def _base_urls(account: Table) -> dict[str, str]:
    given = {key: account.get(key, default) for key, default in _BASE_URLS.items()}
    return {key: url for key, url in given.items() if isinstance(url, str)}


def is_loopback(url: str) -> bool:
    """Whether a URL stays on this machine."""
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _clear_text_urls(name: str, account: Table) -> Iterator[Problem]:
    if account.get("allow_http") is True:
        return
    for key, url in _base_urls(account).items():
        if url.startswith("http://") and not is_loopback(url):
            yield Problem(
                dotted(["accounts", name, key]),
                shown(url),
                "would send the access token unencrypted to another machine",
                "write https://, or allow_http = true in this account if the network between is your own",
            )


_CARRIER_NEEDS = {
    "twilio": ("account_id", "auth_token"),
    "telnyx": ("public_key",),
    "bandwidth": ("username", "password"),
    "vonage": ("signing_key",),
    "plivo": ("auth_token",),
    "sinch": ("signing_key",),
}
_CARRIER_LISTS = {"twilio": ("account_id", "auth_token"), "sinch": ("account_id", "auth_token")}


def _carrier_credentials(name: str, carrier: Table) -> Iterator[Problem]:
    kind = carrier.get("carrier")
    if not isinstance(kind, str) or kind not in _CARRIER_NEEDS:
        return
    for needed in _CARRIER_NEEDS[kind]:
        if needed not in carrier:
            yield Problem(
                dotted(["carriers", name, needed]),
                None,
                f"is missing: without it nobody can tell whether an event comes from {kind}",
                "copy it from the carrier's console; secrets as { env = NAME }",
            )
    if "poll_every" not in carrier:
        return
    if kind not in _CARRIER_LISTS:
        yield Problem(
            dotted(["carriers", name, "poll_every"]),
            shown(carrier["poll_every"]),
            f"cannot be: {kind} has no list that gives the words of sent texts",
            f"remove it (there are lists of: {', '.join(_CARRIER_LISTS)})",
        )
        return
    for needed in _CARRIER_LISTS[kind]:
        if needed not in carrier:
            remedy = "copy it from the carrier's console"
            yield Problem(dotted(["carriers", name, needed]), None, "is missing: poll_every needs it", remedy)


def _subscriber(name: str, subscriber: Table) -> Iterator[Problem]:
    key = ["subscribers", name]
    url, task = subscriber.get("url"), subscriber.get("task")
    if (url is None) == (task is None):
        remedy = 'write  url = "https://..."  with a secret, or  task = "shop.on_text"'
        yield Problem(dotted(key), None, "needs either a url or a task", remedy)
    if url is not None and "secret" not in subscriber:
        words = "is missing: receivers tell by it that events come from here"
        remedy = 'make one:  printf "whsec_%s" "$(openssl rand -base64 24)"'
        yield Problem(dotted([*key, "secret"]), None, words, remedy)
    in_clear = isinstance(url, str) and url.startswith("http://") and not is_loopback(url)
    if in_clear and subscriber.get("allow_http") is not True:
        words = "is not encrypted, and texts would travel in clear"
        yield Problem(dotted([*key, "url"]), shown(url), words, "write https://, or allow_http = true")
    if url is not None and "queue" in subscriber:
        yield Problem(dotted([*key, "queue"]), shown(subscriber["queue"]), "means nothing with a url", "remove it")


def _hours_of_texts(policy: Table) -> Iterator[Problem]:
    usual = {"text_from": "09:00", "text_until": "20:00"}
    opens, closes = (str(policy.get(key, hour))[:5] for key, hour in usual.items())
    if _HOUR.fullmatch(opens) and _HOUR.fullmatch(closes) and opens >= closes:
        words = f"is not later than text_from ({opens}), so no text would ever go"
        remedy = "name the hours in which people may be texted, both of one day; urgent = true passes them"
        yield Problem("policy.text_until", shown(closes), words, remedy)


def _reported_field(name: str, connection: Table) -> Iterator[Problem]:
    if connection.get("report_opt_outs") is True and "do_not_text" not in connection:
        words = "is missing: report_opt_outs needs to know which field to write"
        remedy = 'add  do_not_text = { field = "do_not_text" }'
        yield Problem(dotted(["connections", name, "do_not_text"]), None, words, remedy)


def _short_timeout(name: str, account: Table) -> Iterator[Problem]:
    seconds = account.get("read_timeout", SHORTEST_READ_TIMEOUT_SECONDS)
    if not isinstance(seconds, int | float) or not seconds < SHORTEST_READ_TIMEOUT_SECONDS:
        return
    if any(not is_loopback(url) for url in _base_urls(account).values()):
        yield Problem(
            dotted(["accounts", name, "read_timeout"]),
            shown(seconds),
            f"is too short: VirtualText itself may take {PLATFORM_TIMEOUT_SECONDS} seconds to answer, "
            "and who waits less cannot know whether a text went out",
            f"write {SHORTEST_READ_TIMEOUT_SECONDS} or more, or leave it out (40)",
        )


def _one_url_only(name: str, account: Table) -> Iterator[Problem]:
    given = [key for key, default in _BASE_URLS.items() if account.get(key, default) != default]
    if len(given) == 1:
        other = next(key for key in _BASE_URLS if key != given[0])
        yield Problem(
            dotted(["accounts", name, other]),
            None,
            f"is missing although {given[0]} is set: this account's credential would go to two different platforms",
            f"set {other} too (it may be the same URL), or leave both out",
        )


def _shared_uids(data: Table, context: object) -> Iterator[Problem]:
    first: dict[tuple[str, object], str] = {}
    for name, account in _tables(data, "accounts"):
        uid = _text_of(account.get("uid"), context)
        if uid is None:
            continue
        other = first.setdefault((uid, str(account.get("api_url", DEFAULT_API_URL)).rstrip("/")), name)
        if other != name:
            yield Problem(
                dotted(["accounts", name, "uid"]),
                HIDDEN,
                f'is the same VirtualText user as account "{other}": its contacts would be created twice',
                "keep one of the two; a trigger may send from another number with its own from_number",
            )


def _relay_secrets(data: Table, context: object) -> Iterator[Problem]:
    first: dict[str, str] = {}
    for name, account in _tables(data, "accounts"):
        secret = _text_of(account.get("relay_secret"), context)
        if secret is None:
            continue
        key = dotted(["accounts", name, "relay_secret"])
        if not _PART_OF_A_URL.fullmatch(secret):
            words = "has characters that cannot stand in the last part of a URL as they are"
            yield Problem(key, HIDDEN, words, "make another one:  openssl rand -hex 24")
        other = first.setdefault(secret, name)
        if other != name:
            words = f'is also that of account "{other}": nobody could tell whose an event is'
            yield Problem(key, HIDDEN, words, "give each account its own:  openssl rand -hex 24")


def _text_of(value: object, context: object) -> str | None:
    """A text that may stand elsewhere; None where it is none or cannot be read, which is another rule's matter."""
    try:
        value = resolve_reference(value, context) if isinstance(value, dict) else value
    except PydanticCustomError:
        return None
    return value if isinstance(value, str) else None


def _unknown_name(key: str, name: object, kind: str, known: Collection[str]) -> Iterator[Problem]:
    if isinstance(name, str) and name not in known:
        yield Problem(key, shown(name), f"names no {kind} of this file", _known_names(name, kind, known))


def _known_names(name: str, kind: str, known: Collection[str]) -> str:
    if not known:
        return f"there is no {kind} yet: add a table [{kind}s.<name>]"
    return did_you_mean(name, f"{kind}s", known)


def _watched_connections(name: str, trigger: Table, known: Collection[str]) -> Iterator[Problem]:
    watched = trigger.get("connections")
    if isinstance(watched, str):
        yield from _unknown_name(dotted(["triggers", name, "connections"]), watched, "connection", known)
    if not isinstance(watched, list):
        return
    if not watched:
        key = dotted(["triggers", name, "connections"])
        yield Problem(
            key, "[]", "names no connection, so the trigger would never fire", _known_names("", "connection", known)
        )
    for index, connection in enumerate(watched):
        yield from _unknown_name(dotted(["triggers", name, "connections", index]), connection, "connection", known)
