"""What the configuration allows and may be meant otherwise. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from urllib.parse import urlsplit

from config.models import Account, Settings
from config.types import holds_password, is_loopback
from worker.core.text import counted
from worker.doctor.findings import Finding, ok, warning
from worker.fleet.processes import STOP_SECONDS

MANY_PEOPLE = 1000


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Everything that the settings alone say."""
    yield ok("configuration", sizes(settings))
    for name, account in settings.accounts.items():
        yield from _account(name, account)
    yield from _policy(settings)
    yield from _broker(settings)
    yield from _unprotected_servers(settings)


def sizes(settings: Settings) -> str:
    """How much is configured: ``1 account, 2 connections, 3 triggers``."""
    found: dict[str, Sized] = {
        "account": settings.accounts,
        "connection": settings.connections,
        "trigger": settings.triggers,
    }
    return ", ".join(counted(len(several), name) for name, several in found.items())


def _account(name: str, account: Account) -> Iterator[Finding]:
    what = f"account {name}"
    longest = account.connect_timeout + account.read_timeout
    if longest > STOP_SECONDS - 15:
        yield warning(
            what,
            f"one request may take {longest:g} s",
            f"a worker that is stopped is killed after {STOP_SECONDS:g} s; what is on the wire then becomes unknown",
            "lower read_timeout (the platform gives up after 30 s, so 40 is enough)",
        )
    if account.relay_secret is None:
        yield warning(
            what,
            "no relay_secret: VirtualText does not tell us of replies",
            "STOP is only learnt from a refused text, and a text whose answer was lost waits for a person",
            "set relay_secret, run `vtsync web`, then `vtsync relay register` (docs/relay.md)",
        )
    if account.allow_http and not all(map(is_loopback, (account.api_url, account.create_url))):
        yield warning(
            what,
            "allow_http is set",
            "token, numbers and texts travel in clear",
            "use https:// addresses, and remove allow_http",
        )


def _policy(settings: Settings) -> Iterator[Finding]:
    policy = settings.policy
    if policy.quiet_hours == "none":
        yield warning(
            "policy",
            'quiet_hours is "none"',
            "people may be texted in the middle of the night; in the US that is against the law",
            'set policy.quiet_hours = "us", and mark what cannot wait as urgent',
        )
    if policy.blast_limit > MANY_PEOPLE:
        yield warning(
            "policy",
            f"one sync may text {policy.blast_limit:,} people unasked",
            "an import or a mistake in the CRM would text all of them",
            "lower policy.blast_limit; larger ones then wait for `vtsync approve`",
        )


def _broker(settings: Settings) -> Iterator[Finding]:
    url = "" if settings.broker.url is None else settings.broker.url.get_secret_value()
    limited = [name for name, account in settings.accounts.items() if _limits(account)]
    if limited and url.startswith("amqp") and settings.broker.limits_url is None:
        yield warning(
            "broker",
            f"the rates of {', '.join(limited)} are counted by each process for itself",
            "with three workers three times as much is asked of VirtualText",
            "set broker.limits_url to a Redis",
        )


def _limits(account: Account) -> bool:
    limits = ("requests_per_second", "creates_per_second", "updates_per_second", "texts_per_second", "max_in_flight")
    return any(getattr(account, limit) is not None for limit in limits)


def _unprotected_servers(settings: Settings) -> Iterator[Finding]:
    for what, secret in (("broker", settings.broker.url), ("store", settings.store.url)):
        url = "" if secret is None else secret.get_secret_value()
        host = urlsplit(url).hostname or ""
        if host and "." in host and not is_loopback(f"http://{host}") and not holds_password(url):
            yield warning(
                what,
                f"{host} is reached without a password",
                "whoever reaches it can queue texts in your name, or read your customers' numbers",
                f"give the server a password and put it into {what}.url by reference",
            )
