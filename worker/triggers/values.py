"""CRM values and field names as texts and templates use them."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

Scalar: TypeAlias = str | int | float | bool

_PLACEHOLDERS = frozenset(
    {"n/a", "#n/a", "none", "null", "nil", "nan", "undefined", "-", "--", "\u2013", "\u2014", "?"}
)
"""What forms and exports write where there is nothing. Compared without regard to capital letters."""


@lru_cache(maxsize=4096)
def slug(name: str) -> str:
    """The name of a field in a template: ``First Name`` is ``first_name``. Empty when it has no letter or digit.

    Small letters, digits and single underscores; it never begins with a digit (``2nd Phone`` is ``_2nd_phone``).
    """
    words = re.sub(r"[\W_]+", "_", unicodedata.normalize("NFC", name).lower()).strip("_")
    return f"_{words}" if words[:1].isdigit() else words


def property_named(name: str, *properties: Mapping[str, object]) -> str | None:
    """The key in any of ``properties`` that ``name`` means: the very same, else one whose template name is the same."""
    if any(name in record for record in properties):
        return name
    wanted = slug(name)
    return next((key for record in properties for key in record if slug(key) == wanted), None)


def value_text(value: object) -> str:
    """A value as a person writes it: ``3.0`` is ``3``, true is ``true``, nothing, lists and mappings are empty."""
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
    """A value as a template gets it: trimmed, whole numbers as such; None where there is nothing to show.

    Nothing to show are empty values, placeholders such as ``n/a``, lists and mappings.
    """
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return int(value) if value.is_integer() else value
    if not isinstance(value, str):
        return None
    text = _printable(value).strip()
    return None if not text or text.casefold() in _PLACEHOLDERS else text


def _printable(text: str) -> str:
    """Without control characters, which no phone shows and some databases refuse; line breaks stay."""
    if text.isprintable():
        return text
    text = text.replace("\r\n", "\n").replace("\t", " ")
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) not in ("Cc", "Cs"))
