"""A tap's catalog: its streams, what their fields are, and the choice of what the tap should write. Pure."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple

from crm_adapters.base import CrmField, SourceInvalid
from crm_adapters.http.records import chosen_fields, value_at

_TYPES = {"integer": "number", "number": "number", "boolean": "boolean"}
_FORMATS = {"date-time": "datetime", "date": "date"}
_LABELS = ("name", "label", "title", "displayName", "display_name", "display_value")
_DEEPEST = 8


class FlatField(NamedTuple):
    """A field as records have it when they are flat. ``top`` is the field of the stream that it comes from."""

    name: str
    type: str
    top: str
    label: str = ""


class StreamChoice(NamedTuple):
    """What the tap should write of a stream. ``fields`` are top-level ones; None: all."""

    fields: Collection[str] | None
    replication_key: str | None = None


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a catalog, as the tap wrote it."""

    raw: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The stream's name for people."""
        return str(self.raw.get("stream") or self.raw.get("tap_stream_id") or "")

    @property
    def id(self) -> str:
        """The stream's name in the catalog: no other stream has it."""
        return str(self.raw.get("tap_stream_id") or self.raw.get("stream") or "")

    @property
    def spellings(self) -> list[str]:
        """The names under which its messages may come: taps of databases put the schema or database before it."""
        places = (self._root.get("schema-name"), self._root.get("database-name"))
        names = [f"{place}-{self.name}" for place in places if place]
        return [self.id, self.name, *(str(alias) for alias in [self.raw.get("stream_alias")] if alias), *names]

    @property
    def schema(self) -> Mapping[str, Any]:
        """The JSON Schema of its records."""
        found = self.raw.get("schema")
        return found if isinstance(found, Mapping) else {}

    @property
    def top_level(self) -> list[str]:
        """The names of its top-level fields."""
        properties = self.schema.get("properties")
        return list(properties) if isinstance(properties, Mapping) else []

    @property
    def key(self) -> tuple[str, ...]:
        """The fields that identify a record."""
        return _names(self.raw.get("key_properties")) or _names(self._root.get("table-key-properties"))

    @property
    def always(self) -> set[str]:
        """The top-level fields that the tap needs itself: keys, and those that it calls automatic."""
        found = {*self.key, *_names(self.raw.get("replication_key")), *_names(self._root.get("replication-key"))}
        found |= {*_names(self.raw.get("bookmark_properties")), *_names(self._root.get("valid-replication-keys"))}
        automatic = (path for path, entry in metadata_of(self.raw).items() if entry.get("inclusion") == "automatic")
        return found | {path[1] for path in automatic if len(path) == 2}

    @property
    def _root(self) -> Mapping[str, Any]:
        """The metadata of the stream itself."""
        return metadata_of(self.raw).get((), {})

    def fields(self, kind: str) -> list[CrmField]:
        """Return the fields that its records have, flat."""
        return [CrmField(one.name, one.label, one.type, kind=kind) for one in flat_fields(self.schema)]


def metadata_of(raw: Mapping[str, Any]) -> dict[tuple[str, ...], dict[str, Any]]:
    """Return the metadata of a stream by breadcrumb: () is the stream, ("properties", NAME) a field."""
    entries = raw.get("metadata")
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for entry in entries if isinstance(entries, list) else ():
        path, metadata = value_at(entry, "breadcrumb"), value_at(entry, "metadata")
        if isinstance(path, list) and isinstance(metadata, Mapping):
            found[tuple(map(str, path))] = dict(metadata)
    return found


def find_stream(catalog: Any, name: str, what: str) -> Stream:
    """Return the stream with this name. Raises SourceInvalid."""
    listed = value_at(catalog, "streams")
    if not isinstance(listed, list):
        raise SourceInvalid(f'{what} wrote a catalog without "streams"; check that the program is a Singer tap')
    streams = [Stream(one) for one in listed if isinstance(one, Mapping)]
    found = [one for one in streams if one.id == name] or [one for one in streams if name in one.spellings]
    if len(found) > 1:
        ids = ", ".join(f'"{one.id}"' for one in found)
        raise SourceInvalid(f'{what} has {len(found)} streams "{name}"; name one of them by its full name: {ids}')
    if not found:
        known = ", ".join(sorted({one.name for one in streams})) or "none"
        raise SourceInvalid(f'{what} has no stream "{name}"; there are: {known}')
    return found[0]


def selected(catalog: Mapping[str, Any], choices: Mapping[str, StreamChoice], *, full: bool) -> dict[str, Any]:
    """Return the catalog with only these streams, by id, and only the chosen fields of each, selected.

    Taps differ in where they look: in the metadata, where the breadcrumb ``[]`` is the stream, or in the schema.
    """
    made = copy.deepcopy(dict(catalog))
    made["streams"] = [one for one in made.get("streams", []) if isinstance(one, dict)]
    for stream in made["streams"]:
        choice = choices.get(Stream(stream).id)
        always = Stream(stream).always
        fields = None if choice is None else choice.fields
        take = {
            name: choice is not None and (fields is None or name in fields or name in always)
            for name in Stream(stream).top_level
        }
        method = {} if choice is None else _method(choice, full=full)
        schema = stream.get("schema")
        if isinstance(schema, dict):
            schema["selected"] = choice is not None
            for name, is_taken in take.items():
                if isinstance(schema["properties"][name], dict):
                    schema["properties"][name]["selected"] = is_taken
        metadata = metadata_of(stream)
        metadata[()] = metadata.get((), {}) | {"selected": choice is not None} | method
        for name, is_taken in take.items():
            metadata.setdefault(("properties", name), {})["selected"] = is_taken
        stream["metadata"] = [{"breadcrumb": list(path), "metadata": entry} for path, entry in metadata.items()]
        stream |= {name.replace("-", "_"): value for name, value in method.items()}
    return made


def _method(choice: StreamChoice, *, full: bool) -> dict[str, str]:
    if full:
        return {"replication-method": "FULL_TABLE"}
    if choice.replication_key:
        return {"replication-method": "INCREMENTAL", "replication-key": choice.replication_key}
    return {}


def fields_to_take(stream: Stream, wanted: AbstractSet[str] | None, always: Collection[str]) -> frozenset[str] | None:
    """Return the top-level fields to ask for: the wanted ones and ``always``; None: all."""
    if wanted is None:
        return None
    tops = {one.name: one.top for one in flat_fields(stream.schema)}
    names = {field.name for field in chosen_fields(stream.fields(""), wanted | set(always))} | set(always)
    return frozenset(tops.get(name) or _top(name, stream.top_level) for name in names) | stream.always


def _top(name: str, top_level: Collection[str]) -> str:
    """Return the top-level field in which a name such as ``a.b`` is."""
    return name if name in top_level else name.split(".")[0]


def flat_fields(schema: Any, prefix: str = "", top: str = "") -> Iterator[FlatField]:
    """Yield the fields of a JSON Schema, as records have them when ``flatten`` has made them flat."""
    seen = set()
    for one in _flat(schema, prefix, top, 0):
        if one.name not in seen:
            seen.add(one.name)
            yield one


def _flat(schema: Any, prefix: str, top: str, depth: int) -> Iterator[FlatField]:
    for name, one in _properties(schema).items():
        here, first = f"{prefix}{name}", top or name
        inner = _properties(one)
        if not inner or depth >= _DEEPEST:
            yield FlatField(here, _type(one), first, _title(one))
            continue
        if _is_list(one) and "value" in inner:
            yield FlatField(here, "text", first, _title(one))
            continue
        label = next((key for key in _LABELS if key in inner and not _properties(inner[key])), None)
        if label is not None and "id" in inner:
            yield FlatField(here, "reference", first, _title(one))
            yield FlatField(f"{here}_id", _type(inner["id"]), first)
            inner = {key: value for key, value in inner.items() if key not in (label, "id")}
        yield from _flat({"properties": inner}, f"{here}.", first, depth + 1)


def _properties(schema: Any) -> dict[str, Any]:
    """Return the properties of an object, or of the objects in a list, wherever the schema names them."""
    found: dict[str, Any] = {}
    for one in _alternatives(schema):
        if isinstance(properties := one.get("properties"), Mapping):
            found |= {str(name): value for name, value in properties.items()}
        elif "items" in one:
            found |= _properties(one["items"])
    return found


def _is_list(schema: Any) -> bool:
    return any("items" in one and not one.get("properties") for one in _alternatives(schema))


def _alternatives(schema: Any) -> list[Mapping[str, Any]]:
    if not isinstance(schema, Mapping):
        return []
    found = [schema]
    for name in ("anyOf", "oneOf", "allOf"):
        listed = schema.get(name)
        found += [one for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return found


def _title(schema: Any) -> str:
    return next((one["title"] for one in _alternatives(schema) if isinstance(one.get("title"), str)), "")


def _type(schema: Any) -> str:
    found = ""
    for one in _alternatives(schema):
        if isinstance(one.get("format"), str) and one["format"] in _FORMATS:
            return _FORMATS[one["format"]]
        types = one.get("type")
        listed = types if isinstance(types, list) else [types]
        found = found or next((_TYPES.get(str(one), "text") for one in listed if one not in (None, "null")), "")
    return found


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(map(str, value)) if isinstance(value, Sequence) else ()
