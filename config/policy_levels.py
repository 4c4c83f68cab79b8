"""The policy that applies to a text: `[policy]`, then the tables of its account, its connection and its trigger."""

from __future__ import annotations

from collections.abc import Iterator

from config.models import Settings
from config.policy import Policy, PolicyOverride
from config.problems import dotted


def policy_for(
    settings: Settings, *, account: str | None = None, connection: str | None = None, trigger: str | None = None
) -> Policy:
    """Return the policy of a text. For each key, the most specific table that has it wins. Pure.

    The account is that of the connection unless it is named. Names that the configuration does not have (any more)
    change nothing.
    """
    policy = settings.policy
    for location, override in _levels(settings, account, connection, trigger):
        if override is not None:
            policy = policy.replaced(override, dotted([*location, "policy"]))
    return policy


def every_policy(settings: Settings) -> Iterator[tuple[str, Policy]]:
    """Yield each policy that a text may have, with the table that makes it different from those before. Pure."""
    yield "policy", settings.policy
    for name, account in settings.accounts.items():
        if account.policy is not None:
            yield dotted(["accounts", name, "policy"]), policy_for(settings, account=name)
    for name, connection in settings.connections.items():
        if connection.policy is not None:
            yield dotted(["connections", name, "policy"]), policy_for(settings, connection=name)
    for name, trigger in settings.triggers.items():
        if trigger.policy is not None:
            for connection_name in trigger.connections:
                policy = policy_for(settings, connection=connection_name, trigger=name)
                yield dotted(["triggers", name, "policy"]), policy


def _levels(
    settings: Settings, account: str | None, connection: str | None, trigger: str | None
) -> Iterator[tuple[tuple[str, str], PolicyOverride | None]]:
    of_connection = settings.connections.get(connection or "")
    if account is None and of_connection is not None:
        account = of_connection.account
    if (of_account := settings.accounts.get(account or "")) is not None:
        yield ("accounts", str(account)), of_account.policy
    if of_connection is not None:
        yield ("connections", str(connection)), of_connection.policy
    if (of_trigger := settings.triggers.get(trigger or "")) is not None:
        yield ("triggers", str(trigger)), of_trigger.policy
