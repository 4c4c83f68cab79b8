"""Rules for triggers: which keys go with which kind, and that the trigger can fire."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from config.errors import ConfigProblem
from config.problems import dotted, known_names, unknown_name
from config.raw import Table
from config.redact import redact_value

_KINDS = ("created", "changed", "entered", "date")
_ONLY_WITH = {
    "condition": ("entered",),
    "field": ("changed", "date"),
    "from": ("changed",),
    "to": ("changed",),
    "offset": ("date",),
    "at": ("date",),
    "every_year": ("date",),
}
_REQUIRED = {
    "changed": (
        "field",
        'is missing: on = "changed" needs to know which field',
        'add  field = "status"  (the CRM field to watch)',
    ),
    "entered": ("condition", 'is missing: on = "entered" needs it', "add  condition = \"status == 'ready'\""),
    "date": (
        "field",
        'is missing: on = "date" needs it',
        'add  field = "appointment"  (the CRM field with the date)',
    ),
}


def trigger_problems(name: str, trigger: Table, connections: Collection[str]) -> Iterator[ConfigProblem]:
    """Yield every broken rule of one ``[triggers.<name>]``."""
    yield from _watched_connections(name, trigger, connections)
    key = ["triggers", name]
    yield from _keys_of_kind(key, trigger)
    if trigger.get("on") == "changed" and isinstance(trigger.get("to"), str) and trigger.get("from") == trigger["to"]:
        message = 'is the same as "from", so the trigger would never fire'
        remedy = "write another value, or remove one of them"
        yield ConfigProblem(dotted([*key, "to"]), redact_value(trigger["to"]), message, remedy)
    if isinstance(trigger.get("message"), str) and not trigger["message"].strip():
        yield ConfigProblem(dotted([*key, "message"]), '""', "is an empty text", "write the text to send")


def _watched_connections(name: str, trigger: Table, known: Collection[str]) -> Iterator[ConfigProblem]:
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


def _keys_of_kind(key: list[str], trigger: Table) -> Iterator[ConfigProblem]:
    """Yield keys that this kind of trigger needs, and keys that have no meaning with it."""
    on = trigger.get("on")
    if not isinstance(on, str) or on not in _KINDS:
        return
    needed, missing, remedy = _REQUIRED.get(on, ("", "", ""))
    if needed and needed not in trigger:
        yield ConfigProblem(dotted([*key, needed]), None, missing, remedy)
    for name, kinds in _ONLY_WITH.items():
        if name in trigger and on not in kinds:
            yield ConfigProblem(dotted([*key, name]), redact_value(trigger[name]), *_no_meaning(on, kinds))


def _no_meaning(on: str, kinds: tuple[str, ...]) -> tuple[str, str]:
    if on == "created" and "changed" in kinds:
        message = 'means nothing with on = "created": a new record has no earlier value'
        return message, 'remove it, or write  on = "changed"'
    allowed = " or ".join(f'"{kind}"' for kind in kinds)
    return f'means nothing with on = "{on}"', f"remove it, or write  on = {allowed}"
