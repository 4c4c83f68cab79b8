"""Counts and times in sentences for people, text from outside as a terminal may show it, and invisible text. Pure."""

from __future__ import annotations

import re
import unicodedata
from datetime import timedelta

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""What moves the cursor, changes colours, rings, or reorders a line: C0 and C1 controls, and bidirectional overrides.

Tabs and line breaks are not among them, and neither are the marks that Arabic and Hebrew need (U+200E, U+200F).
"""


def visible(text: str) -> str:
    """Return the text with its control characters written out, such as ``\\x1b``, so that they control nothing.

    Whatever a text, a CRM or a server says passes through here before it is printed.
    """
    return text if text.isprintable() else _CONTROLS.sub(_written_out, text)


def visible_json(text: str) -> str:
    """Return a JSON document whose texts hold no control character in clear. What it means stays the same."""
    return text if text.isprintable() else _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return ``1 record`` or ``2,000 records``. Pass ``many`` if the plural is not ``one`` with an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def duration(length: timedelta) -> str:
    """Format a length of time in its largest useful unit: ``6 minutes``."""
    seconds = length.total_seconds()
    for unit, long in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * long:
            return f"{seconds / long:.0f} {unit}"
    return f"{seconds:.0f} seconds"


_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u2800\u3164\uffa0\ufe00-\ufe0f\ufff0-\ufff8"
    "\U0001d159\U000e0000-\U000e0fff]"
)
"""Letters, marks and symbols that are drawn as nothing (Unicode's ``Default_Ignorable``, the blank braille pattern)."""


def is_invisible(text: str) -> bool:
    """Return True if nothing of a text can be seen: it has only spaces, control or other invisible characters."""
    return not any(
        unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs") for one in _INVISIBLE.sub("", text)
    )
