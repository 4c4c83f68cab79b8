"""Finds settings that are valid but risky. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from urllib.parse import urlsplit

from config.models import Account, Settings
from config.policy import Policy
from config.policy_levels import every_policy
from config.types import holds_password, is_loopback
from worker.contacts.services import connection_limits
from worker.core.findings import Finding, FindingCode, ok, warning
from worker.core.numbering import subdivisions
from worker.core.text import counted
from worker.fleet.processes import STOP_SECONDS
from worker.policy.locations import Locations
from worker.policy.quiet_hours import rules_for

MANY_PEOPLE = 1000
REQUEST_HEADROOM_SECONDS = 15


def check_settings(settings: Settings) -> Iterator[Finding]:
    """Check the settings by themselves, without connecting to anything."""
    for name, account in settings.accounts.items():
        yield from _account(name, account)
    yield from _policies(settings)
    yield from _broker(settings)
    yield from _unprotected_servers(settings)


def summarize(settings: Settings) -> Iterator[Finding]:
    """Say how much is configured, ``1 account, 2 connections, 3 triggers``, and which keys have new names."""
    found: dict[str, Sized] = {
        "account": settings.accounts,
        "connection": settings.connections,
        "trigger": settings.triggers,
    }
    yield ok("configuration", ", ".join(counted(len(several), name) for name, several in found.items()))
    for note in settings.notes:
        yield ok("renamed key", note)


def _account(name: str, account: Account) -> Iterator[Finding]:
    what = f"account {name}"
    longest = account.connect_timeout + account.read_timeout
    if longest > STOP_SECONDS - REQUEST_HEADROOM_SECONDS:
        yield warning(
            FindingCode.LONG_REQUESTS,
            what,
            f"one request may take {longest:g} s",
            f"a stopping worker is killed after {STOP_SECONDS:g} s; the result of a request in flight is then unknown",
            "lower read_timeout (VirtualText gives up after 30 s, so 40 is enough)",
        )
    if account.relay_secret is None:
        yield warning(
            FindingCode.NO_RELAY,
            what,
            "relay_secret is not set: VirtualText does not report replies",
            "vtsync learns of STOP only when a text is refused, and a text whose response was lost waits for you",
            "set relay_secret, run `vtsync web`, then `vtsync relay register` (docs/relay.md)",
        )
    if account.allow_http and not all(map(is_loopback, (account.api_url, account.create_url))):
        yield warning(
            FindingCode.UNENCRYPTED,
            what,
            "allow_http is set",
            "the token, numbers and texts travel unencrypted",
            "use https:// addresses, and remove allow_http",
        )


def _policies(settings: Settings) -> Iterator[Finding]:
    """Check every policy that texts may have. What several of them inherit is said once."""
    shown: list[Finding] = []
    for table, policy in every_policy(settings):
        for finding in (*_policy(policy), *_closed_hours(table, policy)):
            if finding not in shown:
                shown.append(finding)
                yield finding


def _policy(policy: Policy) -> Iterator[Finding]:
    if policy.quiet_hours == "none":
        setting = policy.setting("quiet_hours")
        yield warning(
            FindingCode.NO_QUIET_HOURS,
            setting.removesuffix(".quiet_hours"),
            'quiet_hours is "none"',
            "people may get texts in the middle of the night; in the US that is illegal",
            f'set {setting} = "us", and mark texts that cannot wait as urgent',
        )
    if policy.blast_limit > MANY_PEOPLE:
        setting = policy.setting("blast_limit")
        yield warning(
            FindingCode.HIGH_BLAST_LIMIT,
            setting.removesuffix(".blast_limit"),
            f"one sync, and each trigger in 24 hours, may text {policy.blast_limit:,} people without approval",
            "an import or a mistake in the CRM would send a text to all of them",
            f"lower {setting}; larger batches then wait for `vtsync approve`",
        )


def _closed_hours(table: str, policy: Policy) -> Iterator[Finding]:
    """Find places where the law leaves no hour of those that are configured."""
    setting = f"{policy.setting('text_from')} and {policy.setting('text_until')}"
    if _never_open(policy, Locations(())):
        yield warning(
            FindingCode.NO_LEGAL_HOURS,
            table,
            f"the law leaves no hour between {policy.text_from:%H:%M} and {policy.text_until:%H:%M}",
            "no text is ever sent, except urgent ones",
            f"set {setting} to hours of the day",
        )
        return
    states = [one.name for one in subdivisions().values() if _never_open(policy, Locations((), (one.code,)))]
    if states:
        yield warning(
            FindingCode.NO_LEGAL_HOURS,
            table,
            f"the law leaves no hour between {policy.text_from:%H:%M} and {policy.text_until:%H:%M} in"
            f" {', '.join(states)}",
            "texts to people there wait until they expire, except urgent ones",
            f"widen {setting}",
        )


def _never_open(policy: Policy, locations: Locations) -> bool:
    rules = rules_for(policy, locations)
    return rules is not None and all(day.opens >= day.closes for day in (rules.weekday, rules.saturday, rules.sunday))


def _broker(settings: Settings) -> Iterator[Finding]:
    url = "" if settings.broker.url is None else settings.broker.url.get_secret_value()
    limited = [name for name, account in settings.accounts.items() if _limits(account)]
    limited += [name for name in settings.connections if _paces(settings, name)]
    if limited and url.startswith("amqp") and settings.broker.limits_url is None:
        yield warning(
            FindingCode.LIMITS_NOT_SHARED,
            "broker",
            f"each process counts the request rates of {', '.join(limited)} on its own",
            "three workers together make three times as many requests as configured",
            "set broker.limits_url to a Redis server",
        )


def _paces(settings: Settings, connection: str) -> bool:
    return any(not limit.is_budget for limit in connection_limits(settings, connection))


def _limits(account: Account) -> bool:
    limits = ("requests_per_second", "creates_per_second", "updates_per_second", "texts_per_second", "max_in_flight")
    return any(getattr(account, limit) is not None for limit in limits)


def _unprotected_servers(settings: Settings) -> Iterator[Finding]:
    for what, secret in (("broker", settings.broker.url), ("store", settings.store.url)):
        url = "" if secret is None else secret.get_secret_value()
        host = urlsplit(url).hostname or ""
        if host and "." in host and not is_loopback(f"http://{host}") and not holds_password(url):
            yield warning(
                FindingCode.NO_PASSWORD,
                what,
                f"{host} needs no password",
                "anyone who reaches it can queue texts in your name or read your customers' numbers",
                f"give the server a password, and refer to it in {what}.url by variable or file",
            )
