"""Rules for accounts: safe URLs, a read timeout that is long enough, and one account per VirtualText user."""

from __future__ import annotations

from collections.abc import Iterator

from config.accounts import DEFAULT_API_URL, DEFAULT_CREATE_URL
from config.errors import ConfigProblem
from config.problems import dotted
from config.raw import Table, text_or_secret
from config.redact import HIDDEN, redact_value
from config.types import is_loopback
from config.url_secrets import url_secret_problems

# VirtualText itself gives up on a request after 30 s. A client that waits less cannot know if a text was sent.
PLATFORM_TIMEOUT_SECONDS = 30
SHORTEST_READ_TIMEOUT_SECONDS = PLATFORM_TIMEOUT_SECONDS + 1

_BASE_URLS = {"api_url": DEFAULT_API_URL, "create_url": DEFAULT_CREATE_URL}


def account_problems(accounts: dict[str, Table], context: object) -> Iterator[ConfigProblem]:
    """Yield every broken rule of the ``[accounts.<name>]`` tables."""
    for name, account in accounts.items():
        yield from _unencrypted_urls(name, account)
        yield from _short_timeout(name, account)
        yield from _one_url_only(name, account)
    yield from _shared_uids(accounts, context)
    yield from _relay_secrets(accounts, context)


def _base_urls(account: Table) -> dict[str, str]:
    given = {key: account.get(key, default) for key, default in _BASE_URLS.items()}
    return {key: url for key, url in given.items() if isinstance(url, str)}


def _unencrypted_urls(name: str, account: Table) -> Iterator[ConfigProblem]:
    if account.get("allow_http") is True:
        return
    for key, url in _base_urls(account).items():
        if url.startswith("http://") and not is_loopback(url):
            yield ConfigProblem(
                dotted(["accounts", name, key]),
                redact_value(url),
                "would send the access token unencrypted to another machine",
                "write https://, or allow_http = true in this account if you own the network between them",
            )


def _short_timeout(name: str, account: Table) -> Iterator[ConfigProblem]:
    seconds = account.get("read_timeout", SHORTEST_READ_TIMEOUT_SECONDS)
    if not isinstance(seconds, int | float) or not seconds < SHORTEST_READ_TIMEOUT_SECONDS:
        return
    if any(not is_loopback(url) for url in _base_urls(account).values()):
        yield ConfigProblem(
            dotted(["accounts", name, "read_timeout"]),
            redact_value(seconds),
            f"is too short: VirtualText itself may take {PLATFORM_TIMEOUT_SECONDS} seconds to respond, "
            "and a client that waits less cannot know if a text was sent",
            f"write {SHORTEST_READ_TIMEOUT_SECONDS} or more, or remove it (default: 40)",
        )


def _one_url_only(name: str, account: Table) -> Iterator[ConfigProblem]:
    given = [key for key, default in _BASE_URLS.items() if account.get(key, default) != default]
    if len(given) == 1:
        other = next(key for key in _BASE_URLS if key != given[0])
        yield ConfigProblem(
            dotted(["accounts", name, other]),
            None,
            f"is missing although {given[0]} is set: this account's credential would go to two different platforms",
            f"set {other} too (it may be the same URL), or remove both",
        )


def _shared_uids(accounts: dict[str, Table], context: object) -> Iterator[ConfigProblem]:
    first: dict[tuple[str, object], str] = {}
    for name, account in accounts.items():
        uid = text_or_secret(account.get("uid"), context)
        if uid is None:
            continue
        other = first.setdefault((uid, str(account.get("api_url", DEFAULT_API_URL)).rstrip("/")), name)
        if other != name:
            yield ConfigProblem(
                dotted(["accounts", name, "uid"]),
                HIDDEN,
                f'is the same VirtualText user as account "{other}": its contacts would be created twice',
                "keep one of the two; a trigger may send from another number with its own from_number",
            )


def _relay_secrets(accounts: dict[str, Table], context: object) -> Iterator[ConfigProblem]:
    first: dict[str, str] = {}
    for name, account in accounts.items():
        secret = text_or_secret(account.get("relay_secret"), context)
        if secret is None:
            continue
        key = dotted(["accounts", name, "relay_secret"])
        yield from url_secret_problems(key, secret)
        other = first.setdefault(secret, name)
        if other != name:
            message = f'is also the secret of account "{other}", so events could not be assigned to an account'
            yield ConfigProblem(key, HIDDEN, message, "give each account its own:  openssl rand -hex 24")
