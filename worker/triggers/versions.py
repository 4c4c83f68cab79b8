"""Aligns two versions of a record, so that only values that really changed differ. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from worker.triggers.same_value import may_be_same
from worker.triggers.values import alike, property_named


def aligned(
    old: Mapping[str, Any], new: Mapping[str, Any], region: str | None
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return both versions with the same fields.

    A field that one version does not have is unknown there: it has the value of the other one. A value that may be the
    same in another spelling has the new spelling. A field whose name changed just in case or punctuation is the same.
    """
    before, after = dict(old), dict(new)
    for name in [name for name in old if name not in new]:
        key = alike(name, new)
        if key is not None and key not in old:
            before[key] = before.pop(name)
        else:
            after[name] = old[name]
    for name, value in new.items():
        if name not in before or may_be_same(before[name], value, region):
            before[name] = value
    return before, after


def names_in_both(field: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the keys of a field in two versions; None if one of them does not have it."""
    key = property_named(field, new)
    if key is None or key in old:
        return None if key is None else (key, key)
    before = property_named(key, old)
    return None if before is None or before in new else (before, key)
