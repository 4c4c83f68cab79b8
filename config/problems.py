"""Turns pydantic's validation errors into problems with a key, a value that is safe to show, and a remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import time, timedelta
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from config.errors import Problem
from config.redact import HIDDEN, is_secret_name, shown
from config.schema_walk import Location, Place, as_written, keys_of, place_at, tagged_at
from config.tagged_unions import TaggedUnion
from config.types import readable_duration

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")

# pydantic's error type, or how it begins: what is wrong, what is allowed.
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
    """A location as the key a person would write: ``triggers.ready.media[0]``."""
    text = ""
    for step in location:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            bare = step if _BARE_KEY.fullmatch(step) else json.dumps(step[:80], ensure_ascii=False)
            text += f".{bare}" if text else bare
    return text


def in_toml(value: Any) -> str:
    """A small value as TOML."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {in_toml(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(in_toml, value)) + "]"
    if isinstance(value, timedelta):
        return f'"{readable_duration(value)}"'
    if isinstance(value, time):
        return f'"{value:%H:%M}"'
    return json.dumps(value, ensure_ascii=False)


def nearest(given: str, allowed: Iterable[str]) -> str | None:
    """The one of ``allowed`` that ``given`` was probably meant to be."""
    by_folded = {name.casefold().replace("-", "_"): name for name in allowed}
    found = get_close_matches(given.casefold().replace("-", "_"), by_folded, n=1, cutoff=0.6)
    return by_folded[found[0]] if found else None


def did_you_mean(given: str, kind: str, known: Iterable[str]) -> str:
    """Which of the ``known`` accounts, connections ... (``kind``, plural) was meant; always lists them."""
    names = list(known)
    near = nearest(given, names)
    hint = f'did you mean "{near}"? ' if near else ""
    return f"{hint}The {kind} are: {', '.join(names)}"


def problems_of(error: ValidationError, model: type[BaseModel], prefix: Location = ()) -> list[Problem]:
    """Every problem in a validation error of ``model``, whose table stands at ``prefix`` in the file."""
    found = []
    for details in error.errors(include_url=False):
        found += _tag_problems(details, model, prefix) or [_problem(details, model, prefix)]
    return found


def _tag_problems(details: ErrorDetails, model: type[BaseModel], prefix: Location) -> list[Problem]:
    """Report a table whose tag is wrong or missing, and all that is wrong with it whatever its kind is."""
    place = place_at(model, details["loc"]) if details["type"].startswith("union_tag_") else None
    if place is None or place.model is None:
        return []
    try:
        place.model.model_validate(details["input"])
    except ValidationError as error:
        return problems_of(error, place.model, [*prefix, *details["loc"]])
    return []


def _problem(details: ErrorDetails, model: type[BaseModel], prefix: Location) -> Problem:
    location = details["loc"]
    key, place = dotted([*prefix, *as_written(model, location)]), place_at(model, location)
    tagged = tagged_at(model, location[:-1])
    if details["type"] == "missing":
        return Problem(key, None, f"is missing{_needed_by(tagged, location)}", _how_to_add(str(location[-1]), place))
    if details["type"] == "extra_forbidden":
        if tagged is not None and tagged[0].tags_with(str(location[-1])):
            return _of_another_kind(details, tagged, key)
        return Problem(key, None, "is not a key that is known here", _which_key(model, location))
    if details["type"] == "literal_secret":
        message = f"{details['ctx']['what']} is written in the file, where others can read and copy it"
        return Problem(key, HIDDEN, message, _how_to_refer([*prefix, *location], place))
    message, remedy = _explained(details, place)
    if place is not None and place.is_table and isinstance(details["input"], str | int | float):
        remedy = _which_table(location, place)
    return Problem(key, _safe_value(details["input"], location, place), message, remedy)


def _needed_by(tagged: tuple[TaggedUnion, str] | None, location: Location) -> str:
    if tagged is None or len(tagged[0].tags_with(str(location[-1]))) == len(tagged[0].models):
        return ""
    return f': {tagged[0].key} = "{tagged[1]}" needs it'


def _of_another_kind(details: ErrorDetails, tagged: tuple[TaggedUnion, str], key: str) -> Problem:
    (union, tag), name = tagged, str(details["loc"][-1])
    kinds = union.tags_with(name)
    remedy = f"remove it, or write  {union.key} = {' or '.join(map(in_toml, kinds))}"
    value = _safe_value(details["input"], [name], place_at(union.models[kinds[0]], [name]))
    return Problem(key, value, f'means nothing with {union.key} = "{tag}"', remedy)


def _safe_value(value: object, location: Location, place: Place | None) -> str | None:
    """The value as written, where a plain value belongs and no secret does."""
    if place is None or place.is_table or place.is_secret or is_secret_name(str(location[-1])):
        return HIDDEN
    return shown(value)


def _explained(details: ErrorDetails, place: Place | None) -> tuple[str, str]:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "refused":
        return context["message"], context["remedy"]
    if kind == "literal_error":
        return "is not one of the words allowed here", f"write {context['expected'].replace(chr(39), chr(34))}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal", "finite_number"):
        return "is out of range", f"allowed is a number {_range(place)}"
    for beginning, message, remedy in _EXPECTED:
        if kind.startswith(beginning) and kind.endswith(("_type", "_parsing", "_from_float")):
            return message, remedy
    return details["msg"].removeprefix("Value error, "), ""


def _range(place: Place | None) -> str:
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
    metadata = place.field.metadata if place is not None and place.field is not None else []
    found = [
        f"{word} {getattr(item, name)}" for item in metadata for name, word in words.items() if hasattr(item, name)
    ]
    return " ".join(found) or "that is finite"


def _how_to_add(name: str, place: Place | None) -> str:
    if place is None or place.field is None:
        return "add it"
    example = (place.field.examples or ["..."])[0]
    return f"add  {name} = {in_toml(example)}\n{place.field.description or ''}".rstrip()


def _how_to_refer(location: Location, place: Place | None) -> str:
    name = str(location[-1])
    examples = place.field.examples if place is not None and place.field is not None else None
    variable = re.sub(r"\W", "_", "_".join(["VTSYNC", *map(str, location[-2:])])).upper()
    reference = examples[0] if examples and isinstance(examples[0], dict) else {"env": variable}
    return (
        f"write  {name} = {in_toml(reference)}  and put the value into the environment or the file .env,\n"
        f"or write  {name} = {in_toml({'file': f'/run/secrets/{name}'})}"
    )


def _which_key(model: type[BaseModel], location: Location) -> str:
    unknown, enclosing = str(location[-1]), place_at(model, location[:-1])
    table = enclosing.model if enclosing is not None else None
    if table is None:
        return "remove it"
    homes = [home for home in _homes_of(model, unknown) if home != f"[{dotted(location[:-1])}]"]
    near = nearest(unknown, keys_of(table))
    if near is None and homes:
        return f"it belongs {' or '.join(homes)}"
    return f'did you mean "{near}"?' if near else f"allowed are: {', '.join(keys_of(table))}"


def _homes_of(model: type[BaseModel], unknown: str) -> list[str]:
    """Where else in the file the key, or one spelt nearly like it, has its place."""
    everywhere = {key: home for home, keys in _tables_of(model) for key in keys}
    near = nearest(unknown, everywhere)
    return [f"{home} as {near}" for home, keys in _tables_of(model) if near in keys]


def _tables_of(model: type[BaseModel]) -> Iterator[tuple[str, list[str]]]:
    """Every table with fixed keys: where it stands, and its keys."""
    yield "at the top of the file, above the first [table],", list(keys_of(model))
    for key in keys_of(model):
        for path, label in (([key], key), ([key, "name"], f"{key}.<name>")):
            place = place_at(model, path)
            if place is not None and place.model is not None:
                yield f"into [{label}]", list(keys_of(place.model))


def _which_table(location: Location, place: Place) -> str:
    """A plain value stands where a table belongs: often the table's name was left out."""
    name = str(location[-1])
    if place.model is not None and len(location) > 1 and name in keys_of(place.model):
        section = dotted(location[:-1])
        return f"give the table a name of its own, such as [{section}.main], and write {name} below it"
    return f"write a table, [{dotted(location)}], with its keys below it"
