"""Rules for triggers that concern other tables. ``config.triggers`` has the rules within one trigger."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from config.errors import ConfigProblem
from config.problems import dotted, known_names, unknown_name
from config.raw import Table


def trigger_problems(name: str, trigger: Table, known: Collection[str]) -> Iterator[ConfigProblem]:
    """Yield every broken rule of one ``[triggers.<name>]``: it must watch connections of this file."""
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
