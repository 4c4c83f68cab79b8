"""Rules for triggers that concern other tables. ``config.triggers`` has the rules within one trigger."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from config.errors import ConfigProblem
from config.problems import dotted, known_names, unknown_name
from config.raw import Table

_ABOUT_REPLIES = re.compile(r"\bconversation\s*\.\s*(?:last_reply|replied_since)")


def trigger_problems(
    name: str, trigger: Table, known: Mapping[str, Table], accounts: Mapping[str, Table]
) -> Iterator[ConfigProblem]:
    """Yield every broken rule of one ``[triggers.<name>]``: it must watch connections of this file.

    If it depends on replies, they must come in: each of its accounts needs the Relay.
    """
    yield from _relay_problems(name, trigger, known, accounts)
    watched = trigger.get("connections")
    key = ["triggers", name, "connections"]
    if isinstance(watched, str):
        yield from unknown_name(dotted(key), watched, "connection", known)
    if not isinstance(watched, list):
        return
    if not watched:
        message = "names no connection, so the trigger would never fire"
        yield ConfigProblem(dotted(key), "[]", message, known_names("", "connection", known))
    for index, connection in enumerate(watched):
        yield from unknown_name(dotted([*key, index]), connection, "connection", known)


def _relay_problems(
    name: str, trigger: Table, known: Mapping[str, Table], accounts: Mapping[str, Table]
) -> Iterator[ConfigProblem]:
    condition, watched = trigger.get("only_if"), trigger.get("connections")
    if trigger.get("stop_on_reply") is True:
        key = "stop_on_reply"
    elif isinstance(condition, str) and _ABOUT_REPLIES.search(condition):
        key = "only_if"
    else:
        return
    names = [watched] if isinstance(watched, str) else watched if isinstance(watched, list) else []
    used = dict.fromkeys(known[one].get("account") for one in names if isinstance(one, str) and one in known)
    for account in used:
        if isinstance(account, str) and account in accounts and "relay_secret" not in accounts[account]:
            message = f'depends on replies, and those of the account "{account}" do not come in'
            remedy = f"set accounts.{account}.relay_secret and the Relay's URL, see docs/relay.md; or remove it"
            yield ConfigProblem(dotted(["triggers", name, key]), None, message, remedy)
