"""Rules between values. They run on the file's raw data, so that one mistake does not hide another."""

from __future__ import annotations

import re
from collections.abc import Iterator

from config.account_checks import account_problems
from config.alert_checks import channel_problems
from config.carriers import carrier_account_problems
from config.errors import ConfigProblem
from config.policy_checks import policy_problems
from config.problems import dotted, unknown_name
from config.raw import Table, named_tables, section, text_or_secret
from config.redact import HIDDEN
from config.sign_in_checks import sign_in_problems
from config.subscriber_checks import signing_secret_problems, subscriber_problems
from config.trigger_checks import trigger_problems
from config.url_secrets import MAKE_ANOTHER, MIN_SECRET_LENGTH, is_short, url_secret_problems

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


def rule_problems(data: Table, context: object = None) -> Iterator[ConfigProblem]:
    """Yield every broken rule in a file's raw data. Values of the wrong type are skipped: the models report them."""
    for name in ("accounts", "connections", "triggers", "carriers", "subscribers"):
        yield from _bad_names(name, section(data, name))
    yield from _bad_names("alerts.channels", section(section(data, "alerts"), "channels"))
    accounts, connections = dict(named_tables(data, "accounts")), dict(named_tables(data, "connections"))
    yield from account_problems(accounts, context)
    for name, connection in connections.items():
        yield from _connection_problems(name, connection, accounts)
        yield from _webhook_secret_problems(name, connection, context)
    for name, carrier in named_tables(data, "carriers"):
        yield from carrier_account_problems(name, carrier, accounts)
    for name, subscriber in named_tables(data, "subscribers"):
        yield from subscriber_problems(name, subscriber, accounts, context)
    yield from signing_secret_problems(["callbacks"], section(data, "callbacks"), context)
    for name, channel in named_tables(section(data, "alerts"), "channels"):
        yield from channel_problems(name, channel, context)
    yield from sign_in_problems(section(data, "web"))
    yield from policy_problems(data)
    for name, trigger in named_tables(data, "triggers"):
        yield from trigger_problems(name, trigger, connections, accounts)


def _bad_names(kind: str, tables: Table) -> Iterator[ConfigProblem]:
    remedy = "use letters, digits, - and _, at most 64, beginning with a letter or digit"
    for name in tables:
        if not _NAME.fullmatch(name):
            yield ConfigProblem(dotted([kind, name]), None, "is not a usable name", remedy)


def _connection_problems(name: str, connection: Table, accounts: Table) -> Iterator[ConfigProblem]:
    key = ["connections", name]
    yield from unknown_name(dotted([*key, "account"]), connection.get("account"), "account", accounts)
    if connection.get("report_opt_outs") is True and "do_not_text" not in connection:
        message = "is missing: report_opt_outs needs to know which field to write"
        remedy = 'add  do_not_text = { field = "do_not_text" }'
        yield ConfigProblem(dotted([*key, "do_not_text"]), None, message, remedy)


def _webhook_secret_problems(name: str, connection: Table, context: object) -> Iterator[ConfigProblem]:
    secret = text_or_secret(connection.get("webhook_secret"), context)
    if secret is None:
        return
    key = dotted(["connections", name, "webhook_secret"])
    if not is_short(secret):
        yield from url_secret_problems(key, secret)
    else:
        yield ConfigProblem(key, HIDDEN, f"has fewer than {MIN_SECRET_LENGTH} characters", MAKE_ANOTHER)
