"""Tables of several kinds with one model for each kind, such as triggers."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import Any, Literal, Optional, Union, get_args, get_origin

from pydantic import BaseModel, create_model
from pydantic.fields import FieldInfo

from config.base import Model


@dataclass(frozen=True, slots=True)
class TaggedUnion:
    """A union of models. The value at ``key`` (the tag) says which of ``models`` a table is."""

    key: str
    models: Mapping[str, type[BaseModel]]

    @classmethod
    def of(cls, annotation: Any) -> TaggedUnion | None:
        """Return the tagged union that a type annotation declares, or None."""
        key = next((one.discriminator for one in getattr(annotation, "__metadata__", ()) if _names_key(one)), None)
        union = get_args(annotation)[0] if key is not None else None
        if key is None or get_origin(union) not in (Union, UnionType):
            return None
        return cls(key, {_tag(model, key): model for model in get_args(union)})

    def tags_with(self, key: str) -> list[str]:
        """Return the tags of the models that have a key."""
        return [tag for tag, model in self.models.items() if key in _fields(model)]

    @property
    def merged(self) -> type[BaseModel]:
        """One model with the keys of all kinds, for the reference and for tables whose tag is wrong."""
        return _merged(self.key, tuple(self.models.items()))


@lru_cache(maxsize=32)
def _merged(tag_key: str, models: tuple[tuple[str, type[BaseModel]], ...]) -> type[BaseModel]:
    """Merge the models. Keys that all kinds share stay as they are; the others become optional and follow the tag."""
    union = TaggedUnion(tag_key, dict(models))
    first = models[0][1]
    names = {key: name for _tag, model in models for key, name in _fields(model).items()}
    partial = [key for key in names if len(union.tags_with(key)) < len(models)]
    shared = [key for key in names if key not in partial]
    after_tag = shared.index(tag_key) + 1
    fields: dict[str, Any] = {}
    for key in [*shared[:after_tag], *partial, *shared[after_tag:]]:
        if key == tag_key:
            annotation, field = _tag_field(union)
        elif key in partial:
            annotation, field = _partial_field(union, key)
        else:
            field = copy(first.model_fields[names[key]])
            annotation = field.annotation
        fields[names[key]] = (annotation, field)
    shared_base = next(one for one in first.__mro__ if all(issubclass(model, one) for _tag, model in models))
    return create_model(shared_base.__name__, __base__=Model, __doc__=shared_base.__doc__, **fields)


def _tag_field(union: TaggedUnion) -> tuple[Any, FieldInfo]:
    field = copy(next(iter(union.models.values())).model_fields[union.key])
    kinds = [f"`{tag}`: {_described(model.model_fields[union.key])}" for tag, model in union.models.items()]
    field.description = f"{'; '.join(kinds)}."
    return Literal[tuple(union.models)], field


def _partial_field(union: TaggedUnion, key: str) -> tuple[Any, FieldInfo]:
    """Merge a key that only some kinds have. It becomes optional; its description names those kinds."""
    found = {tag: union.models[tag].model_fields[_fields(union.models[tag])[key]] for tag in union.tags_with(key)}
    by_meaning: dict[tuple[str, bool], list[str]] = {}
    for tag, field in found.items():
        by_meaning.setdefault((_described(field), field.is_required()), []).append(f"`{tag}`")
    merged = copy(next(iter(found.values())))
    merged.description = " ".join(
        f"For {' and '.join(tags)}{', where it is required' if required else ''}: {meaning}."
        for (meaning, required), tags in by_meaning.items()
    )
    merged.examples = [example for field in found.values() for example in field.examples or ()]
    if merged.is_required():
        merged.default = None
        return Optional[merged.annotation], merged  # noqa: UP045 - the annotation is a value here
    return merged.annotation, merged


def _described(field: FieldInfo) -> str:
    text = (field.description or "").rstrip(".")
    return text[:1].lower() + text[1:]


def _fields(model: type[BaseModel]) -> dict[str, str]:
    """Return the keys of a model and the names of their fields."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def _tag(model: type[BaseModel], key: str) -> str:
    return str(get_args(model.model_fields[key].annotation)[0])


def _names_key(metadata: object) -> bool:
    return isinstance(metadata, FieldInfo) and isinstance(metadata.discriminator, str)
