"""Finds adapters by name: built-in ones, and those of other packages by the entry-point group ``vtsync.adapters``."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from config.problems import in_toml
from crm_adapters.base import Adapter

GROUP = "vtsync.adapters"

# Adapters are imported on first use: each may need libraries that the others do not.
BUILT_IN = {
    "csv": "crm_adapters.csv.adapter:CsvAdapter",
    "hubspot": "crm_adapters.hubspot.adapter:HubSpotAdapter",
    "pipedrive": "crm_adapters.pipedrive.adapter:PipedriveAdapter",
    "rest": "crm_adapters.rest.adapter:RestAdapter",
    "singer": "crm_adapters.singer.adapter:SingerAdapter",
    "sql": "crm_adapters.sql.adapter:SqlAdapter",
}


class UnknownAdapter(LookupError):
    """No adapter has this name. The text lists the ones that exist."""


class BrokenAdapter(Exception):
    """An adapter is registered under this name but cannot be used here. The text says why."""


@dataclass(frozen=True, slots=True)
class OptionInfo:
    """One option of an adapter. ``default`` is "required" when it has none."""

    name: str
    type: str
    default: str
    description: str


@dataclass(frozen=True, slots=True)
class AdapterInfo:
    """One adapter, for people. ``source`` is "built in" or the package that provides it."""

    name: str
    summary: str
    source: str
    options: tuple[OptionInfo, ...]


def adapter_names() -> list[str]:
    """Return the names that a connection may use as ``adapter``."""
    return sorted(_entry_points())


def adapter_class(name: str) -> type[Adapter]:
    """Return the adapter's class. A plugin cannot take a built-in name. Raises UnknownAdapter, BrokenAdapter."""
    if name in BUILT_IN:  # plugins are not even looked for, which takes a while
        return _load(EntryPoint(name, BUILT_IN[name], GROUP))
    point = _entry_points().get(name)
    if point is not None:
        return _load(point)
    known = adapter_names()
    near = difflib.get_close_matches(name, known, n=1)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise UnknownAdapter(f'there is no adapter "{name}"; there are: {", ".join(known)}{hint}')


def describe_adapters() -> list[AdapterInfo]:
    """Return every adapter with its options, by name. The summary of a broken one says why it cannot be used."""
    return [_info(point) for _name, point in sorted(_entry_points().items())]


def _entry_points() -> dict[str, EntryPoint]:
    installed = {point.name: point for point in entry_points(group=GROUP)}
    return installed | {name: EntryPoint(name, value, GROUP) for name, value in BUILT_IN.items()}


def _load(point: EntryPoint) -> type[Adapter]:
    try:
        loaded: Any = point.load()
    except (Exception, SystemExit) as error:  # a plugin may fail in any way and must not affect the others
        raise BrokenAdapter(f'the adapter "{point.name}" ({point.value}) cannot be imported: {error}') from error
    if not (isinstance(loaded, type) and issubclass(loaded, Adapter)):
        raise BrokenAdapter(
            f'the adapter "{point.name}" ({point.value}) is not a subclass of crm_adapters.base.Adapter'
        )
    return loaded


def _info(point: EntryPoint) -> AdapterInfo:
    source = "built in" if point.name in BUILT_IN else point.dist.name if point.dist else "a plugin"
    try:
        cls = _load(point)
        return AdapterInfo(point.name, cls.summary, source, tuple(_options(cls.Options)))
    except Exception as error:  # noqa: BLE001 - a class without the required attributes affects only itself
        return AdapterInfo(point.name, f"cannot be used: {error}", source, ())


def _options(model: type[BaseModel]) -> Iterator[OptionInfo]:
    schema = model.model_json_schema(by_alias=False)["properties"]
    for name, field in model.model_fields.items():
        yield OptionInfo(name, _type(schema.get(name, {})), _default(field), field.description or "")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return in_toml(value.model_dump(mode="json"))
    return "" if value is None or value in ((), [], {}) else str(value)


def _type(schema: dict[str, Any]) -> str:
    """Return a JSON Schema type in a word or two."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(one) for one in schema["anyOf"] if one.get("type") != "null"))
    if "$ref" in schema or "oneOf" in schema:
        return "table"
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    if schema.get("required") in (["env"], ["file"]):
        return "secret"
    kind = str(schema.get("type", "text"))
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return {"string": "text", "object": "table"}.get(kind, kind)
