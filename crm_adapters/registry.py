"""Finds adapters by name: the built-in ones, and third parties' by the entry-point group ``vtsync.adapters``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from crm_adapters.base import Adapter

GROUP = "vtsync.adapters"

# Imported on first use: an adapter may need libraries that the others do not.
BUILT_IN = {
    "csv": "crm_adapters.csv_file:CsvAdapter",
    "sql": "crm_adapters.sql:SqlAdapter",
}


class UnknownAdapter(LookupError):
    """No adapter has this name. The text lists those that there are."""


class BrokenAdapter(LookupError):
    """A third party's adapter is registered and cannot be used. The text says why."""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option of an adapter. ``default`` is "required" when it has none."""

    name: str
    type: str
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """One adapter, for people. ``source`` is "built in" or the package that brings it."""

    name: str
    summary: str
    source: str
    options: tuple[OptionInfo, ...]


def adapter_names() -> list[str]:
    """The names that a connection may give as ``adapter``."""
    return sorted({*BUILT_IN, *(point.name for point in _plugins())})


def adapter_class(name: str) -> type[Adapter]:
    """The adapter's class. A built-in name cannot be taken by a plugin. Raises UnknownAdapter, BrokenAdapter."""
    if name in BUILT_IN:
        module, _, attribute = BUILT_IN[name].partition(":")
        found: type[Adapter] = getattr(import_module(module), attribute)
        return found
    for point in _plugins():
        if point.name == name:
            return _load(point)
    known = adapter_names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise UnknownAdapter(f'there is no adapter "{name}"; there are: {", ".join(known)}{hint}')


def describe() -> list[AdapterInfo]:
    """Every adapter with its options. One that cannot be loaded says so in its summary."""
    found = [_info(name, adapter_class(name), "built in") for name in BUILT_IN]
    for point in _plugins():
        source = point.dist.name if point.dist else "a plugin"
        try:
            found.append(_info(point.name, _load(point), source))
        except BrokenAdapter as error:
            found.append(AdapterInfo(point.name, f"cannot be used: {error}", source, ()))
    return sorted(found, key=lambda info: info.name)


def _plugins() -> Iterator[EntryPoint]:
    return (point for point in entry_points(group=GROUP) if point.name not in BUILT_IN)


def _load(point: EntryPoint) -> type[Adapter]:
    try:
        loaded: Any = point.load()
    except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, and must not take the others along
        raise BrokenAdapter(f'the adapter "{point.name}" ({point.value}) cannot be imported: {error}') from error
    if not (isinstance(loaded, type) and issubclass(loaded, Adapter)):
        raise BrokenAdapter(f'the adapter "{point.name}" ({point.value}) is not a subclass of crm_adapters.base.Adapter')
    return loaded


def _info(name: str, cls: type[Adapter], source: str) -> AdapterInfo:
    return AdapterInfo(name, cls.summary, source, tuple(_options(cls.Options)))


def _options(model: type[BaseModel]) -> Iterator[OptionInfo]:
    schema = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        default = "required" if field.is_required() else "" if field.default in (None, PydanticUndefined) else str(field.default)
        yield OptionInfo(name, _type(schema.get(name, {})), default, field.description or "")


def _type(schema: dict[str, Any]) -> str:
    """A JSON Schema type in a word or two."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"] if one.get("type") != "null"))
    kind = str(schema.get("type", "text"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return {"string": "text", "object": "table"}.get(kind, kind)
