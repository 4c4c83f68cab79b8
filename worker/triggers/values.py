"""Reads CRM values and field names, for templates, conditions and date triggers alike. Pure.

``worker.triggers.number_text`` reads numbers and money, ``worker.triggers.date_text`` dates.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from crm_adapters.entities import without_entities
from crm_adapters.fields import fold, without_formula
from crm_adapters.placeholders import says_nothing
from crm_adapters.words import FALSE, TRUE

Scalar: TypeAlias = str | int | float | bool

BOOLEANS = {**dict.fromkeys((*TRUE, "1"), True), **dict.fromkeys((*FALSE, "0"), False)}
_ANSWERS = dict.fromkeys("yes y on".split(), True) | dict.fromkeys("no n off".split(), False)


@lru_cache(maxsize=4096)
def slug(name: str) -> str:
    """Return the name of a field in a template: ``First Name`` is ``first_name``. Empty if it has no letter or digit.

    It has lower-case letters, digits and single underscores, and never begins with a digit (``2nd Phone`` is
    ``_2nd_phone``).
    """
    found = re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", name).lower()).strip("_")
    return f"_{found}" if found[:1].isdigit() else found


def property_named(name: str, *properties: Mapping[str, object]) -> str | None:
    """Return the key in ``properties`` that ``name`` means.

    The same name, else the first with its template name, else the only one that differs just in case, spaces and
    punctuation. The first in the alphabet, as records are stored, so that a record just read and a stored one give the
    same key.
    """
    if any(name in record for record in properties):
        return name
    wanted = slug(name)
    same = [min((key for key in record if slug(key) == wanted), default=None) for record in properties if wanted]
    return next((key for key in (*same, *(alike(name, record) for record in properties)) if key is not None), None)


def alike(name: str, names: Iterable[str]) -> str | None:
    """Return the only one of ``names`` that differs from ``name`` just in case, accents, spaces and punctuation."""
    wanted = folded(name)
    found = [one for one in names if folded(one) == wanted] if wanted else []
    return found[0] if len(found) == 1 else None


folded = lru_cache(maxsize=4096)(fold)


def value_text(value: object) -> str:
    """Return a value as a person writes it: ``3.0`` as ``3``, true as ``true``; None, lists and mappings as empty."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return value
        case int():
            return str(value)
        case float() if math.isfinite(value):
            text = format(Decimal(repr(value)), "f")
            return text.rstrip("0").rstrip(".") if "." in text else text
        case _:
            return ""


def scalar(value: object) -> Scalar | None:
    """Return a value as templates and conditions get it: trimmed text, a number or a boolean; None if it is empty.

    Markers such as ``n/a``, lists and mappings count as empty. Floats without a fraction become whole numbers. HTML
    entities are the characters that they stand for, and ``="Ready"`` is what a spreadsheet shows of it: ``Ready``.
    """
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    if not isinstance(value, str):
        return None
    text = _printable(without_entities(value) if "&" in value else value).strip()
    text = without_formula(text) if text[:1] == "=" else text
    return None if says_nothing(text) else text


def read_boolean(value: object) -> bool | None:
    """Return the boolean that a value holds; None for anything else.

    Text counts as databases, spreadsheets and people write it: ``true``, ``WAHR``, ``t``, ``1``, ``yes``.
    """
    text = value_text(value).strip().casefold()
    return value if isinstance(value, bool) else BOOLEANS.get(text, _ANSWERS.get(text))


def _printable(text: str) -> str:
    """Remove control characters, which no phone shows and some databases refuse. Line breaks stay."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs"))
