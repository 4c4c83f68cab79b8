"""Compares the names of a configuration with the fields that a source describes. Pure."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Sequence

from crm_adapters.base import CrmField
from crm_adapters.fields import fold


def find_field(name: str, fields: Sequence[CrmField]) -> CrmField | None:
    """Return the field that ``name`` means: by its name, or by its label where only one field has that label.

    Case, spaces and punctuation do not matter.
    """
    wanted = fold(name)
    exact = next((field for field in fields if field.name == name), None)
    named = exact or next((field for field in fields if wanted and fold(field.name) == wanted), None)
    if named is not None:
        return named
    labelled = [field for field in fields if wanted and fold(field.label) == wanted]
    return labelled[0] if len(labelled) == 1 else None


def resolve_labels(names: Iterable[str], fields: Sequence[CrmField]) -> dict[str, str]:
    """Return label -> name for those of ``names`` that are the label of one field and the name of none."""
    found = {name: find_field(name, fields) for name in names}
    return {name: field.name for name, field in found.items() if field is not None and fold(field.name) != fold(name)}


def nearest_fields(name: str, fields: Sequence[CrmField]) -> list[str]:
    """Return at most three fields with a similar name or label, best first, as a person sees them."""
    by_fold: dict[str, CrmField] = {}
    for field in fields:
        for text in (field.name, field.label):
            by_fold.setdefault(fold(text), field)
    close = difflib.get_close_matches(fold(name), by_fold, n=6, cutoff=0.5)
    return list(dict.fromkeys(field_title(by_fold[one]) for one in close))[:3]


def shared_labels(name: str, fields: Sequence[CrmField]) -> list[str]:
    """Return the names of the fields that share the label ``name``, if there are several."""
    labels = Counter(fold(field.label) for field in fields)
    return [field.name for field in fields if labels[fold(name)] > 1 and fold(field.label) == fold(name)]


def field_title(field: CrmField) -> str:
    """Return the name of a field with its label, for a person: ``user_id (Salesperson)``."""
    return f"{field.name} ({field.label})" if field.label and fold(field.label) != fold(field.name) else field.name
