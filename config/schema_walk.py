"""Finds the model and field of each key of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo

from config.tagged_unions import TaggedUnion

Location = Sequence[int | str]


@dataclass(frozen=True, slots=True)
class SchemaNode:
    """The schema of a key: its field (of the nearest enclosing model) and the expected Python type."""

    field: FieldInfo | None
    type: Any

    @property
    def model(self) -> type[BaseModel] | None:
        """The model of this table, if it is a table with fixed keys."""
        union = TaggedUnion.of(self.type)
        if union is not None:
            return union.merged
        return next((kind for kind in _alternatives(self.type) if _is_model(kind)), None)

    @property
    def is_table(self) -> bool:
        """True if a table is expected."""
        return any(_is_model(kind) or get_origin(kind) is dict for kind in _alternatives(self.type))

    @property
    def is_secret(self) -> bool:
        """True if a secret is expected."""
        return any(kind is SecretStr for kind in _alternatives(self.type))


def keys_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the keys that a table of this model may have."""
    return {field.alias or name: field for name, field in model.model_fields.items()}


def node_at(model: type[BaseModel], location: Location) -> SchemaNode | None:
    """Return the schema at ``location``; None for an unknown key."""
    node = SchemaNode(None, model)
    for step in location:
        inner = _step_into(node, step)
        if inner is None:
            return None
        node = inner
    return node


def tagged_at(model: type[BaseModel], location: Location) -> tuple[TaggedUnion, str] | None:
    """Return the union and the tag if ``location`` ends with a tag, which pydantic adds after the table's name."""
    outer = node_at(model, location[:-1]) if location else None
    union = TaggedUnion.of(outer.type) if outer is not None else None
    return (union, str(location[-1])) if union is not None and location[-1] in union.models else None


def without_tags(model: type[BaseModel], location: Location) -> Location:
    """Return ``location`` without its tags, which are not keys of the file."""
    return [step for index, step in enumerate(location) if tagged_at(model, location[: index + 1]) is None]


def _step_into(node: SchemaNode, step: int | str) -> SchemaNode | None:
    union = TaggedUnion.of(node.type)
    if union is not None and step in union.models:
        return SchemaNode(node.field, union.models[str(step)])
    for kind in _alternatives(node.type):
        if _is_model(kind) and step in (keys := keys_of(kind)):
            return SchemaNode(keys[str(step)], _type_of(keys[str(step)]))
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is dict and isinstance(step, str):
            return SchemaNode(node.field, arguments[1])
        if origin in (tuple, list) and isinstance(step, int):
            return SchemaNode(node.field, arguments[0])
    return None


def _type_of(field: FieldInfo) -> Any:
    """Return the type of a field as it was written: pydantic moves the tag of a tagged union into the field."""
    if not isinstance(field.discriminator, str):
        return field.annotation
    return Annotated[field.annotation, Field(discriminator=field.discriminator)]


def _alternatives(kind: Any) -> Iterator[Any]:
    """Yield the types that an optional or annotated type allows."""
    if get_origin(kind) in (Union, UnionType):
        for argument in get_args(kind):
            yield from _alternatives(argument)
    elif hasattr(kind, "__metadata__"):
        yield from _alternatives(kind.__origin__)
    else:
        yield kind


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
