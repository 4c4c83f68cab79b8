"""Finds what in an OpenAPI document breaks the callers of the one before. Pure.

A request may only be allowed more than before, an answer may only say more than before. Descriptions and examples do
not count, and neither does an answer's new value of an enumeration: callers must expect values that they do not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]
METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
_AT_LEAST = ("minLength", "minItems", "minimum", "exclusiveMinimum", "minProperties")
_AT_MOST = ("maxLength", "maxItems", "maximum", "exclusiveMaximum", "maxProperties")
_FORMS = ("pattern", "format", "multipleOf", "uniqueItems")


def breaking_changes(before: Schema, after: Schema) -> list[str]:
    """Return a sentence for each change that breaks callers, in the order of the document before."""
    return list(_Comparison(before, after).routes())


class _Comparison:
    def __init__(self, before: Schema, after: Schema) -> None:
        self._before, self._after = before, after
        self._compared: set[tuple[str, str, bool]] = set()
        """Pairs of named schemas that are being compared, so that recursion ends."""

    def routes(self) -> Iterator[str]:
        for path, methods in self._before["paths"].items():
            for method in (one for one in METHODS if one in methods):
                place = f"{method.upper()} {path}"
                now = self._after["paths"].get(path, {}).get(method)
                if now is None:
                    yield f"{place} is gone"
                else:
                    yield from self._operation(place, methods[method], now)

    def _operation(self, place: str, was: Schema, now: Schema) -> Iterator[str]:
        yield from self._security(place, was, now)
        yield from self._parameters(place, was, now)
        yield from self._body(place, was.get("requestBody"), now.get("requestBody"))
        for status, answer in was["responses"].items():
            if status not in now["responses"]:
                yield f"{place} does not answer {status} any more"
                continue
            old, new = _named(self._before, answer), _named(self._after, now["responses"][status])
            yield from self._contents(f"{place}, the answer {status}", old, new, request=False)

    def _security(self, place: str, was: Schema, now: Schema) -> Iterator[str]:
        """Compare who may call: what was enough must still be enough."""
        old, new = was.get("security", []) or [{}], now.get("security", []) or [{}]
        if not all(any(_fulfils(given, wanted) for wanted in new) for given in old):
            needed = sorted({scope for one in new for scopes in one.values() for scope in scopes})
            yield f"{place} needs more of a key than before: {', '.join(needed) or ', '.join(new[0])}"

    def _parameters(self, place: str, was: Schema, now: Schema) -> Iterator[str]:
        old, new = _parameters_of(self._before, was), _parameters_of(self._after, now)
        for key, one in old.items():
            name = f"{place}, the parameter {key[1]}"
            if key not in new:
                yield f"{name} is gone"
                continue
            if new[key].get("required") and not one.get("required"):
                yield f"{name} is required now"
            yield from self._schemas(name, one["schema"], new[key]["schema"], request=True)
        for key, one in new.items():
            if key not in old and one.get("required"):
                yield f"{place}, the parameter {key[1]} is new and required"

    def _body(self, place: str, was: Schema | None, now: Schema | None) -> Iterator[str]:
        name = f"{place}, the body"
        if was is None:
            if now is not None and now.get("required"):
                yield f"{name} is new and required"
        elif now is None:
            yield f"{name} is not taken any more"
        else:
            if now.get("required") and not was.get("required"):
                yield f"{name} is required now"
            yield from self._contents(name, was, now, request=True)

    def _contents(self, place: str, was: Schema, now: Schema, *, request: bool) -> Iterator[str]:
        for media, one in was.get("content", {}).items():
            if media not in now.get("content", {}):
                yield f"{place} is not {media} any more"
            elif "schema" in one:
                yield from self._schemas(place, one["schema"], now["content"][media].get("schema", {}), request=request)

    def _schemas(self, place: str, was: Schema, now: Schema, *, request: bool) -> Iterator[str]:
        pair = (was.get("$ref", ""), now.get("$ref", ""), request)
        if all(pair[:2]):
            if pair in self._compared:
                return
            self._compared.add(pair)
        yield from self._variants(place, was, now, request=request)
        self._compared.discard(pair)

    def _variants(self, place: str, was: Schema, now: Schema, *, request: bool) -> Iterator[str]:
        """Compare by variants: each that was allowed must still be (request); each that is possible must have been."""
        old, new = _variants_of(self._before, was), _variants_of(self._after, now)
        given, taken = (old, new) if request else (new, old)
        for one in given:
            fitting = [other for other in taken if _type_fits(one, other)]
            if not fitting:
                verb = "may not be" if request else "may now be"
                yield f"{place} {verb} {_type_name(one)}{' any more' if request else ''}"
                continue
            pairs = [(one, other) if request else (other, one) for other in fitting]
            found = [list(self._same_type(place, *pair, request=request)) for pair in pairs]
            yield from min(found, key=len)

    def _same_type(self, place: str, was: Schema, now: Schema, *, request: bool) -> Iterator[str]:
        if request:
            yield from _narrowed(place, was, now)
        yield from self._fields(place, was, now, request=request)
        if "items" in was and "items" in now:
            yield from self._schemas(f"{place}, each item", was["items"], now["items"], request=request)
        old, new = was.get("additionalProperties", True), now.get("additionalProperties", True)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from self._schemas(f"{place}, each value", old, new, request=request)
        elif request and new is False and old is not False:
            yield f"{place} takes no other fields any more"

    def _fields(self, place: str, was: Schema, now: Schema, *, request: bool) -> Iterator[str]:
        old, new = was.get("properties", {}), now.get("properties", {})
        for name, field in old.items():
            here = f"{place}, the field {name}"
            if name in new:
                yield from self._schemas(here, field, new[name], request=request)
            elif not request or now.get("additionalProperties", True) is False:
                yield f"{here} is gone"
        required, needed = set(was.get("required", ())), set(now.get("required", ()))
        for name in sorted(needed - required) if request else []:
            yield f"{place}, the field {name} is {'required now' if name in old else 'new and required'}"
        for name in sorted((required - needed) & new.keys()) if not request else []:
            yield f"{place}, the field {name} may be missing now"


def _narrowed(place: str, was: Schema, now: Schema) -> Iterator[str]:
    """Say what a request may not be any more, of the same type."""
    old, new = _values(was), _values(now)
    if new is not None and old is None:
        yield f"{place} must be one of {', '.join(map(str, new))} now"
    elif new is not None and old is not None:
        for value in (one for one in old if one not in new):
            yield f'{place} may not be "{value}" any more'
    for limit in _AT_LEAST:
        if limit in now and (limit not in was or now[limit] > was[limit]):
            yield f"{place} has a higher {limit}: {now[limit]}"
    for limit in _AT_MOST:
        if limit in now and (limit not in was or now[limit] < was[limit]):
            yield f"{place} has a lower {limit}: {now[limit]}"
    for form in _FORMS:
        if form in now and now[form] != was.get(form):
            yield f"{place} has another {form}: {now[form]}"


def _fulfils(given: Schema, wanted: Schema) -> bool:
    """Return whether who could call before (with these schemes and scopes) has all that is wanted now."""
    return all(name in given and set(scopes) <= set(given[name]) for name, scopes in wanted.items())


def _parameters_of(document: Schema, operation: Schema) -> dict[tuple[str, str], Schema]:
    found = [_named(document, one) for one in operation.get("parameters", [])]
    return {(one["in"], one["name"]): one for one in found}


def _named(document: Schema, part: Schema) -> Schema:
    """Follow references."""
    while "$ref" in part:
        found: Any = document
        for step in part["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        part = found
    return part


def _variants_of(document: Schema, schema: Schema) -> list[Schema]:
    schema = _named(document, schema)
    inner = schema.get("anyOf") or schema.get("oneOf")
    if inner:
        return [one for each in inner for one in _variants_of(document, each)]
    types = schema.get("type")
    return [schema | {"type": one} for one in types] if isinstance(types, list) else [schema]  # type: ignore[operator]


def _type_fits(given: Schema, taken: Schema) -> bool:
    if "type" not in taken or given.get("type") == taken["type"]:
        return True
    return (given.get("type"), taken["type"]) == ("integer", "number")


def _type_name(schema: Schema) -> str:
    return str(schema.get("type", "anything"))


def _values(schema: Schema) -> list[Any] | None:
    if "const" in schema:
        return [schema["const"]]
    found = schema.get("enum")
    return None if found is None else list(found)
