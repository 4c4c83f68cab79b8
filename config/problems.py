"""Turns pydantic's validation errors into problems with a key, a redacted value and a remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator
from datetime import time, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from config.errors import ConfigProblem
from config.redact import HIDDEN, is_secret_name, redact_value
from config.schema_walk import Location, SchemaNode, keys_of, node_at, tagged_at, without_tags
from config.tagged_unions import TaggedUnion
from config.types import readable_duration

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# The beginning of pydantic's error type; what is wrong; what is allowed.
_EXPECTED = (
    ("string", "is not a text", "write it in quotes"),
    ("bool", "is neither true nor false", "write true or false, without quotes"),
    ("int", "is not a whole number", "write a whole number, without quotes"),
    ("float", "is not a number", "write a number, without quotes"),
    ("dict", "is not a table", "write a table with keys and values"),
    ("model", "is not a table", "write a table with keys and values"),
    ("mapping", "is not a table", "write a table with keys and values"),
    ("tuple", "is not a list", 'write one text in quotes, or a list such as ["a", "b"]'),
    ("list", "is not a list", "write a list in square brackets"),
)


def dotted(location: Location) -> str:
    """Return a location as the key that a person would write: ``triggers.ready.media[0]``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            key = _key_in_toml(step[:80])
            text += f".{key}" if text else key
    return text


def _key_in_toml(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def in_toml(value: Any) -> str:
    """Return a small value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key_in_toml(key)} = {in_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    if isinstance(value, timedelta):
        return f'"{readable_duration(value)}"'
    if isinstance(value, time):
        return f'"{value:%H:%M}"'
    # The strings, numbers and booleans of JSON are those of TOML, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def nearest_name(given: str, allowed: Iterable[str]) -> str | None:
    """Return the name in ``allowed`` that the author of ``given`` probably meant."""
    by_folded = {name.casefold().replace("-", "_"): name for name in allowed}
    found = get_close_matches(given.casefold().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(given: str, kind: str, known: Iterable[str]) -> str:
    """Suggest the nearest of the ``known`` accounts, connections ... (``kind``, in the plural) and list them all."""
    names = list(known)
    near = nearest_name(given, names)
    hint = f'did you mean "{near}"? ' if near else ""
    return f"{hint}The {kind} are: {', '.join(names)}"


def known_names(name: str, kind: str, known: Collection[str]) -> str:
    """Return the remedy for a ``name`` that none of the ``known`` tables has (``kind`` in the singular)."""
    if not known:
        return f"there is no {kind} yet: add a table [{kind}s.<name>]"
    return did_you_mean(name, f"{kind}s", known)


def unknown_name(key: str, name: object, kind: str, known: Collection[str]) -> Iterator[ConfigProblem]:
    """Yield a problem if ``name`` is a text and not one of the ``known`` names."""
    if isinstance(name, str) and name not in known:
        message = f"names no {kind} of this file"
        yield ConfigProblem(key, redact_value(name), message, known_names(name, kind, known))


def problems_of(error: ValidationError, model: type[BaseModel], prefix: Location = ()) -> list[ConfigProblem]:
    """Return every problem in a validation error of ``model``, whose table is at ``prefix`` in the file."""
    found = []
    for details in error.errors(include_url=False):
        found += _tag_problems(details, model, prefix) or [_problem(details, model, prefix)]
    return found


def _tag_problems(details: ErrorDetails, model: type[BaseModel], prefix: Location) -> list[ConfigProblem]:
    """Report a table whose tag is wrong or missing, and everything else that is wrong for every kind."""
    node = node_at(model, details["loc"]) if details["type"].startswith("union_tag_") else None
    if node is None or node.model is None:
        return []
    try:
        node.model.model_validate(details["input"])
    except ValidationError as error:
        return problems_of(error, node.model, [*prefix, *details["loc"]])
    return []


def _problem(details: ErrorDetails, model: type[BaseModel], prefix: Location) -> ConfigProblem:
    location = details["loc"]
    key, node = dotted([*prefix, *without_tags(model, location)]), node_at(model, location)
    tagged = tagged_at(model, location[:-1])
    if details["type"] == "missing":
        message = f"is missing{_needed_by(tagged, location)}"
        return ConfigProblem(key, None, message, _how_to_add(str(location[-1]), node))
    if details["type"] == "extra_forbidden":
        if tagged is not None and tagged[0].tags_with(str(location[-1])):
            return _of_another_kind(details, tagged, key)
        return ConfigProblem(key, None, "is not a key of this table", _which_key(model, location))
    if details["type"] == "literal_secret":
        message = f"{details['ctx']['what']} is written in the file, where others can read and copy it"
        return ConfigProblem(key, HIDDEN, message, _how_to_refer([*prefix, *location], node))
    message, remedy = _explained(details, node)
    if node is not None and node.is_table and isinstance(details["input"], str | int | float):
        remedy = _which_table(location, node)
    return ConfigProblem(key, _safe_value(details["input"], location, node), message, remedy)


def _needed_by(tagged: tuple[TaggedUnion, str] | None, location: Location) -> str:
    if tagged is None or len(tagged[0].tags_with(str(location[-1]))) == len(tagged[0].models):
        return ""
    return f': {tagged[0].key} = "{tagged[1]}" needs it'


def _of_another_kind(details: ErrorDetails, tagged: tuple[TaggedUnion, str], key: str) -> ConfigProblem:
    (union, tag), name = tagged, str(details["loc"][-1])
    kinds = union.tags_with(name)
    remedy = f"remove it, or write  {union.key} = {' or '.join(map(in_toml, kinds))}"
    value = _safe_value(details["input"], [name], node_at(union.models[kinds[0]], [name]))
    return ConfigProblem(key, value, f'does not apply to {union.key} = "{tag}"', remedy)


def _safe_value(value: object, location: Location, node: SchemaNode | None) -> str | None:
    """Return the value as written, but only where a plain value is expected that is not a secret."""
    if node is None or node.is_table or node.is_secret or is_secret_name(str(location[-1])):
        return HIDDEN
    return redact_value(value)


def _explained(details: ErrorDetails, node: SchemaNode | None) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "refused":
        return context["message"], context["remedy"]
    if kind == "literal_error":
        return "is not one of the allowed values", f"write {context['expected'].replace(chr(39), chr(34))}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"):
        return "is out of range", f"write a number {_range(node)}"
    for beginning, message, remedy in _EXPECTED:
        if kind.startswith(beginning) and kind.endswith(("_type", "_parsing", "_from_float")):
            return message, remedy
    return details["msg"].removeprefix("Value error, "), ""


def _range(node: SchemaNode | None) -> str:
    phrases = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
    metadata = node.field.metadata if node is not None and node.field is not None else []
    found = [
        f"{phrase} {getattr(item, name)}"
        for item in metadata
        for name, phrase in phrases.items()
        if hasattr(item, name)
    ]
    return " ".join(found) or "that is finite"


def _how_to_add(name: str, node: SchemaNode | None) -> str:
    if node is None or node.field is None:
        return "add it"
    example = (node.field.examples or ["..."])[0]
    return f"add  {name} = {in_toml(example)}\n{node.field.description or ''}".rstrip()


def _how_to_refer(location: Location, node: SchemaNode | None) -> str:
    name = str(location[-1])
    examples = node.field.examples if node is not None and node.field is not None else None
    variable = re.sub(r"\W", "_", "_".join(["VTSYNC", *map(str, location[-2:])])).upper()
    reference = examples[0] if examples and isinstance(examples[0], dict) else {"env": variable}
    return (
        f"write  {name} = {in_toml(reference)}  and put the value into the environment or the file .env,\n"
        f"or write  {name} = {in_toml({'file': f'/run/secrets/{name}'})}"
    )


def _which_key(model: type[BaseModel], location: Location) -> str:
    unknown, enclosing = str(location[-1]), node_at(model, location[:-1])
    table = enclosing.model if enclosing is not None else None
    if table is None:
        return "remove it"
    homes = [home for home in _homes_of(model, unknown) if home != f"[{dotted(location[:-1])}]"]
    near = nearest_name(unknown, keys_of(table))
    if near is None and homes:
        return f"it belongs {' or '.join(homes)}"
    return f'did you mean "{near}"?' if near else f"allowed are: {', '.join(keys_of(table))}"


def _homes_of(model: type[BaseModel], unknown: str) -> list[str]:
    """Return the other tables that have the key, or a key spelt nearly like it."""
    everywhere = {key: home for home, keys in _tables_of(model) for key in keys}
    near = nearest_name(unknown, everywhere)
    return [f"{home} as {near}" for home, keys in _tables_of(model) if near in keys]


def _tables_of(model: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    """Yield the position of each table with fixed keys, and its keys."""
    yield "at the top of the file, above the first [table],", list(keys_of(model))
    for key in keys_of(model):
        for path, label in (([key], key), ([key, "name"], f"{key}.<name>")):
            node = node_at(model, path)
            if node is not None and node.model is not None:
                yield f"into [{label}]", list(keys_of(node.model))


def _which_table(location: Location, node: SchemaNode) -> str:
    """Return the remedy for a plain value in place of a table. Often the table's name was left out."""
    name = str(location[-1])
    if node.model is not None and len(location) > 1 and name in keys_of(node.model):
        section = dotted(location[:-1])
        return f"give the table a name of its own, such as [{section}.main], and write {name} below it"
    return f"write a table, [{dotted(location)}], with its keys below it"
