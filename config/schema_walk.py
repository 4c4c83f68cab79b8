"""Finds the model and field of each key of the file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

Location = Sequence[int | str]


@dataclass(frozen=True, slots=True)
class SchemaNode:
    """The schema of a key: its field (of the nearest enclosing model) and the expected Python type."""

    field: FieldInfo | None
    type: Any

    @property
    def model(self) -> type[BaseModel] | None:
        """The model of this table, if it is a table with fixed keys."""
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


def _step_into(node: SchemaNode, step: int | str) -> SchemaNode | None:
    for kind in _alternatives(node.type):
        if _is_model(kind) and step in (keys := keys_of(kind)):
            return SchemaNode(keys[str(step)], keys[str(step)].annotation)
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is dict and isinstance(step, str):
            return SchemaNode(node.field, arguments[1])
        if origin in (tuple, list) and isinstance(step, int):
            return SchemaNode(node.field, arguments[0])
    return None


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
