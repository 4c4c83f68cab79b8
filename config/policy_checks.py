"""Rules for `[policy]` and the tables that replace keys of it, alone and together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from config.errors import ConfigProblem
from config.problems import dotted
from config.raw import Table, named_tables, section
from config.redact import redact_value

_TIME = re.compile(r"\d\d:\d\d")
_DEFAULTS = {"text_from": "09:00", "text_until": "20:00"}
_Level = tuple[Sequence[str], Table]
"""The key of a policy table, and the table."""


def policy_problems(data: Table) -> Iterator[ConfigProblem]:
    """Yield every broken rule of the file's policies. Each mistake is reported once, where it was made."""
    seen = set()
    for levels in _combinations(data):
        problem = _never_open(levels)
        if problem is not None and problem.key not in seen:
            seen.add(problem.key)
            yield problem
    for kind in ("accounts", "connections", "triggers"):
        for name, table in named_tables(data, kind):
            yield from _only_above(kind, name, section(table, "policy"))
    for name, trigger in named_tables(data, "triggers"):
        if "expires_after" in trigger and "expires_after" in section(trigger, "policy"):
            key = dotted(["triggers", name, "policy", "expires_after"])
            yield ConfigProblem(key, None, f"is also set as triggers.{name}.expires_after", "keep one of the two")


def _combinations(data: Table) -> Iterator[list[_Level]]:
    """Yield the policy tables of every kind of text, the most general first."""
    top: list[_Level] = [(["policy"], section(data, "policy"))]
    yield top
    accounts, connections = dict(named_tables(data, "accounts")), dict(named_tables(data, "connections"))
    of_account = {name: [*top, _level("accounts", name, table)] for name, table in accounts.items()}
    yield from of_account.values()
    of_connection = {
        name: [*of_account.get(str(table.get("account")), top), _level("connections", name, table)]
        for name, table in connections.items()
    }
    yield from of_connection.values()
    for name, trigger in named_tables(data, "triggers"):
        watched = trigger.get("connections")
        for connection in watched if isinstance(watched, list) else [watched]:
            yield [*of_connection.get(str(connection), top), _level("triggers", name, trigger)]


def _level(kind: str, name: str, table: Table) -> _Level:
    return [kind, name, "policy"], section(table, "policy")


def _never_open(levels: Sequence[_Level]) -> ConfigProblem | None:
    """Return the problem of hours that end before they begin, whichever tables they come from."""
    value, level = dict(_DEFAULTS), dict.fromkeys(_DEFAULTS, 0)
    for index, (_, table) in enumerate(levels):
        for key in _DEFAULTS.keys() & table.keys():
            value[key], level[key] = str(table[key])[:5], index
    if not all(map(_TIME.fullmatch, value.values())) or value["text_from"] < value["text_until"]:
        return None
    wrong, other = (
        ("text_from", "text_until") if level["text_from"] > level["text_until"] else ("text_until", "text_from")
    )
    path = {key: dotted([*levels[level[key]][0], key]) for key in _DEFAULTS}
    than = other if level[wrong] == level[other] else path[other]
    relation = "later" if wrong == "text_until" else "earlier"
    message = f"is not {relation} than {than} ({value[other]}), so no text would ever be sent"
    remedy = "set both to hours of the same day; triggers with urgent = true may send outside them"
    return ConfigProblem(path[wrong], redact_value(value[wrong]), message, remedy)


def _only_above(kind: str, name: str, policy: Table) -> Iterator[ConfigProblem]:
    """Yield the keys that only more general tables can have."""
    if "max_per_account" in policy and kind != "accounts":
        key = dotted([kind, name, "policy", "max_per_account"])
        message = "counts the texts of a whole account, so it cannot be different here"
        yield ConfigProblem(key, None, message, "write it in [accounts.<name>.policy] or [policy]")
    if "consent" in policy:
        key = dotted([kind, name, "policy", "consent"])
        message = "decides about a person, whoever texts them, so it cannot be different here"
        yield ConfigProblem(key, None, message, "write it in [policy]")
