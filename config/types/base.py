"""What all value types share: the validation context, the error, and helpers for the JSON Schema.

Some values depend on the file that they are written in: paths are relative to its folder, and a secret must not be
in it. ``FromFile`` is the validation context that carries this; models built in code have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError


@dataclass(frozen=True, slots=True)
class FromFile:
    """Validation context of a configuration file. ``folder`` is the file's folder, absolute.

    ``notes`` are remarks about the file for the operator; the file can be used all the same.
    """

    folder: Path
    notes: tuple[str, ...] = ()


def invalid_value(message: str, remedy: str) -> PydanticCustomError:
    """Return a validation error. ``message`` continues "this value ..."; ``remedy`` says what to write instead."""
    return PydanticCustomError("refused", "{message}; {remedy}", {"message": message, "remedy": remedy})


def in_folder(path: str | Path, context: object) -> Path:
    """Expand ``~`` in ``path`` and, if it comes from a file, make it relative to that file's folder."""
    try:
        expanded = Path(path).expanduser()
    except RuntimeError:
        raise invalid_value("begins with ~ but there is no such home folder", "write the whole path") from None
    return context.folder / expanded if isinstance(context, FromFile) else expanded


_OF_THE_SYSTEM = frozenset(
    "bin boot dev etc home lib lib32 lib64 libx32 media mnt opt proc root run sbin srv sys tmp usr var Users Library"
    " System Applications private".split()
)

_OF_USR_AND_VAR = frozenset("bin cache lib lib64 local log mail run sbin share spool tmp".split())


def is_system_folder(path: Path) -> bool:
    """Return True for ``/``, ``/var``, ``/var/lib`` and the like, which other programs need."""
    first, second, *deeper = (*path.expanduser().resolve().parts[1:], "", "")
    if first in ("usr", "var") and second in _OF_USR_AND_VAR:
        return not any(deeper)
    return not second and (not first or first in _OF_THE_SYSTEM)


def one_or_many() -> BeforeValidator:
    """Accept a single string where a list is expected."""

    def as_list(value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    return BeforeValidator(as_list, json_schema_input_type=str | list[str])


def text_schema(pattern: str | None = None) -> WithJsonSchema:
    """Return the JSON Schema of a string, with a pattern if one is given."""
    return WithJsonSchema({"type": "string"} | ({} if pattern is None else {"pattern": pattern}))
