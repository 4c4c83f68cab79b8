"""Checks the arguments of the public tasks. What comes through the broker is anybody's JSON.

A job that cannot be done is a result that its caller can read, never an exception in the worker.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Answer = dict[str, Any]


def failure(code: str, message: str, problems: Sequence[str] = ()) -> Answer:
    """The result of a job that cannot be done."""
    return {"ok": False, "error": {"code": code, "message": message, "problems": list(problems)}}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a task. ``read`` returns the value or raises ValueError with "must be ..."."""

    name: str
    read: Callable[[Any], Any]
    required: bool = False


def text(value: Any) -> str:
    """A string."""
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004 - every problem of an argument is a ValueError
    return value


def boolean(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004
    return value


def texts(value: Any) -> tuple[str, ...]:
    """A list of strings; one string counts as a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
        raise ValueError("must be a list of strings")
    return tuple(value)


def moment(value: Any) -> datetime:
    """An ISO 8601 time with a zone."""
    problem = 'must be a time with a zone, such as "2026-03-01T14:30:00+00:00"'
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise ValueError(problem) from None
    if parsed.tzinfo is None:
        raise ValueError(problem)
    return parsed


def read_arguments(
    specification: Sequence[Argument], positional: Sequence[Any], named: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """(values, problems). Positional arguments count in the order of the specification; None means left out."""
    known = {argument.name: argument for argument in specification}
    problems = []
    given = dict(named)
    if len(positional) > len(specification):
        problems.append(f"takes at most {len(specification)} arguments, {len(positional)} were given; name them")
    for argument, value in zip(specification, positional, strict=False):
        if argument.name in given:
            problems.append(f'"{argument.name}" was given twice')
        given.setdefault(argument.name, value)
    values: dict[str, Any] = {}
    for name, value in given.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(known)}"
            problems.append(f'"{name}" is not an argument; {hint}')
        elif value is not None:
            try:
                values[name] = known[name].read(value)
            except ValueError as error:
                problems.append(f'"{name}" {error}')
    problems += [
        f'"{argument.name}" is missing'
        for argument in specification
        if argument.required and given.get(argument.name) is None
    ]
    return values, problems


SEND = (
    Argument("account", text, required=True),
    Argument("to", text, required=True),
    Argument("message", text, required=True),
    Argument("media", texts),
    Argument("from_number", text),
    Argument("idempotency_key", text),
    Argument("send_at", moment),
    Argument("expires_at", moment),
    Argument("urgent", boolean),
)
RECORD = (
    Argument("account", text, required=True),
    Argument("to", text, required=True),
    Argument("message", text, required=True),
    Argument("media", texts),
    Argument("from_number", text),
    Argument("carrier", text),
    Argument("carrier_message_id", text),
    Argument("sent_at", moment),
    Argument("idempotency_key", text),
)
SYNC = (Argument("connection", text, required=True), Argument("accept_removals", boolean))
