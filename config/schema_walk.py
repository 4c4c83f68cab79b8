"""Finds the part of a model that a key of the file belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.tagged_unions import TaggedUnion

Location = Sequence[int | str]


@dataclass(frozen=True, slots=True)
class Place:
    """What belongs at a key: its field (of the nearest enclosing model) and the Python type expected there."""

    field: FieldInfo | None
    type: Any

    @property
    def model(self) -> type[BaseModel] | None:
        """The model of the table at this key, if it is a table with fixed keys."""
        union = TaggedUnion.of(self.type)
        if union is not None:
            return union.merged
        return next((kind for kind in _alternatives(self.type) if _is_model(kind)), None)

    @property
    def is_table(self) -> bool:
        """Whether a table belongs here."""
        return any(_is_model(kind) or get_origin(kind) is dict for kind in _alternatives(self.type))

    @property
    def is_secret(self) -> bool:
        """Whether a secret belongs here."""
        return any(kind is SecretStr for kind in _alternatives(self.type))


def key_of(name: str, field: FieldInfo) -> str:
    """The key of a field in the file."""
    return field.alias or name


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The keys that a table of this model may have."""
    return {key_of(name, field): field for name, field in model.model_fields.items()}


def place_at(model: type[BaseModel], location: Location) -> Place | None:
    """What belongs at ``location``, or None when the model has nothing there (an unknown key)."""
    place = Place(None, model)
    for step in location:
        inner = _step_into(place, step)
        if inner is None:
            return None
        place = inner
    return place


def tagged_at(model: type[BaseModel], location: Location) -> tuple[TaggedUnion, str] | None:
    """Return the union and the tag if ``location`` ends with a tag, which pydantic puts behind the table's name."""
    outer = place_at(model, location[:-1]) if location else None
    union = TaggedUnion.of(outer.type) if outer is not None else None
    return (union, str(location[-1])) if union is not None and location[-1] in union.models else None


def as_written(model: type[BaseModel], location: Location) -> Location:
    """Return ``location`` without the tags, which are no keys of the file."""
    return [step for index, step in enumerate(location) if tagged_at(model, location[: index + 1]) is None]


def _step_into(place: Place, step: int | str) -> Place | None:
    union = TaggedUnion.of(place.type)
    if union is not None and step in union.models:
        return Place(place.field, union.models[str(step)])
    for kind in _alternatives(place.type):
        if _is_model(kind) and step in (keys := keys_of(kind)):
            return Place(keys[str(step)], keys[str(step)].annotation)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is dict and isinstance(step, str):
            return Place(place.field, arguments[1])
        if origin in (tuple, list) and isinstance(step, int):
            return Place(place.field, arguments[0])
    return None


def _alternatives(kind: Any) -> Iterator[Any]:
    """The types that a (possibly optional or annotated) type allows."""
    if get_origin(kind) in (Union, UnionType):
        for argument in get_args(kind):
            yield from _alternatives(argument)
    elif hasattr(kind, "__metadata__"):
        yield from _alternatives(kind.__origin__)
    else:
        yield kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
