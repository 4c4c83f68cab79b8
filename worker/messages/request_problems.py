"""What is wrong with a request, in sentences that are the same for Celery, HTTP and the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

E164_PATTERN = r"^\+[1-9][0-9]{6,14}$"
NO_NUL_PATTERN = r"^[^\x00]*$"
"""PostgreSQL cannot store NUL in a text."""
NOT_BLANK_PATTERN = r"^[^\x00]*[^\x00\s][^\x00]*$"

MESSAGE_ID_PATTERN = r"^[0-9a-f]{32}$"
PRINTABLE_PATTERN = r"^[!-~]+$"
UNSENDABLE = "has characters that cannot be sent (NUL or half of a surrogate pair); remove them"
_BY_TYPE = {
    "missing": "is missing",
    "string_type": "must be a string",
    "string_unicode": UNSENDABLE,
    "bool_type": "must be true or false",
    "tuple_type": "must be a list of strings",
    "model_attributes_type": "must be a JSON object",
}
_BY_PATTERN = {
    NO_NUL_PATTERN: "must not contain NUL characters",
    NOT_BLANK_PATTERN: "must not be blank or contain NUL characters",
    MESSAGE_ID_PATTERN: "must be an id of 32 hexadecimal digits",
    PRINTABLE_PATTERN: "must be printable ASCII characters without spaces",
}
_CONTENT_TYPES = frozenset(
    ("value_error", "string_too_long", "string_too_short", "string_pattern_mismatch", "string_unicode", "too_long")
)
"""Pydantic's error types for a value of the right type that cannot be used. All others mean a wrong argument."""


@dataclass(frozen=True, slots=True)
class RequestProblem:
    """One thing that is wrong with a request.

    ``path`` leads to the field, ``sentence`` is for the caller. ``malformed``: an argument is unknown, missing or of
    the wrong type; otherwise it is well-formed, but its value cannot be used.
    """

    path: tuple[str | int, ...]
    sentence: str
    malformed: bool = False

    def __str__(self) -> str:
        return self.sentence


class InvalidRequest(ValueError):
    """A request that cannot be done as it is. ``problems`` lists everything that was found."""

    def __init__(self, problems: Sequence[RequestProblem]) -> None:
        super().__init__("; ".join(map(str, problems)))
        self.problems = tuple(problems)

    @property
    def malformed(self) -> bool:
        """True if an argument is unknown, missing or of the wrong type."""
        return any(problem.malformed for problem in self.problems)


class FieldProblem(ValueError):
    """A failed check of several fields. ``field`` is the one to correct; ``predicate`` completes the sentence."""

    def __init__(self, field: str, predicate: str) -> None:
        super().__init__(predicate)
        self.field = field


class IdempotencyConflict(ValueError):
    """The same idempotency key came with another payload. ``message_id`` is the first message's."""

    def __init__(self, key: str, message_id: str) -> None:
        super().__init__(
            f'the idempotency key "{key}" was used before, for message {message_id} with other contents; nothing was'
            " enqueued. Use a new key for a new message, or repeat the first request unchanged"
        )
        self.message_id = message_id


def read_errors(errors: Iterable[Mapping[str, Any]], known: Iterable[str]) -> list[RequestProblem]:
    """Translate Pydantic's errors. ``known`` are the names of the fields that there are."""
    names = list(known)
    return [_read_error(error, names) for error in errors]


def unknown_name(name: str, known: Iterable[str]) -> str:
    """Say that there is no such name, with the nearest one or all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"the known names are: {', '.join(names) or 'none'}"
    return f"{quoted(name, 100)} is unknown; {hint}"


def not_one_of(value: object, known: Iterable[str]) -> str:
    """Say that ``value`` is none of the values that there are, with the nearest one. Completes a sentence."""
    names = list(known)
    near = get_close_matches(str(value), names, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    return f"must be one of {', '.join(names)}, not {quoted(value)}{hint}"


def quoted(value: object, longest: int = 40) -> str:
    """Quote a caller's value for an error message: shortened, and without characters that no response can carry."""
    text = str(value)
    cut = text if len(text) <= longest else f"{text[: longest - 1]}…"
    return f'"{printable(cut)}"'


def printable(text: str) -> str:
    """Replace the halves of surrogate pairs, which UTF-8 cannot encode."""
    return text.encode("utf-8", "replace").decode()


def not_e164(value: object) -> str:
    """Say that ``value`` is no phone number in E.164, or none that can be texted."""
    if re.fullmatch(E164_PATTERN, str(value)):
        return f"must be a number that exists and can be texted, which {quoted(value)} is not"
    return f'must be a phone number in E.164, such as "+14155552671", not {quoted(value)}'


def _read_error(error: Mapping[str, Any], known: Sequence[str]) -> RequestProblem:
    kind, path = error["type"], tuple(error["loc"])
    malformed = kind not in _CONTENT_TYPES
    if kind == "extra_forbidden":
        *parents, name = map(str, path)
        return RequestProblem((*parents, printable(name[:100])), unknown_name(name, known), malformed)
    if kind == "value_error" and isinstance(cause := error["ctx"]["error"], FieldProblem):
        path = (cause.field,)
    name = str(path[0]) if path else "the body"
    return RequestProblem(path, f"{name} {_predicate(kind, error)}", malformed)


def _predicate(kind: str, error: Mapping[str, Any]) -> str:
    """Return the rest of the sentence whose subject is the field's name."""
    context: Mapping[str, Any] = error.get("ctx") or {}
    if kind == "value_error":
        return str(context["error"])
    if kind == "string_type" and any(isinstance(step, int) for step in error["loc"]):
        return _BY_TYPE["tuple_type"]
    if kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if kind == "string_too_long":
        return f"has {len(error['input'])} characters, at most {context['max_length']} are allowed; shorten it"
    if kind == "too_long":
        return f"has {context['actual_length']} items, at most {context['max_length']} are allowed"
    if kind == "string_pattern_mismatch" and context["pattern"] == E164_PATTERN:
        return not_e164(error["input"])
    if kind == "string_pattern_mismatch" and context["pattern"] in _BY_PATTERN:
        return _BY_PATTERN[context["pattern"]]
    if kind in ("enum", "literal_error"):
        return not_one_of(error["input"], re.findall(r"'([^']*)'", context["expected"]))
    # "Input should be a valid integer", "String should have at least 1 character" ...
    return re.sub(r"^\w+ should ", "must ", str(error["msg"]))
