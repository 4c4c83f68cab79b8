"""Counts the segments that a text is sent and billed as, and finds what makes it expensive (3GPP TS 23.038 and 23.040).

A text of characters from the GSM-7 alphabet has room for 160 septets, or 153 per segment if it needs several (the rest
of each segment joins them). One other character makes the whole text UCS-2: 70 UTF-16 units, or 67 per segment. A
character of two septets or two units is never split between segments.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

LONGEST_TEXT = 1600
"""Characters of one text: ten GSM-7 segments, and the limit of carriers' APIs (Twilio's error 21617)."""

_GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENSION = frozenset("\f^{}\\[~]|€")


@dataclass(frozen=True, slots=True)
class SegmentInfo:
    """How a text is sent. ``units``: septets in GSM-7, UTF-16 units in UCS-2. ``culprits``: the characters, each once
    and in order, because of which the text is not GSM-7. An empty text has no segments.
    """

    encoding: Literal["GSM-7", "UCS-2"]
    units: int
    segments: int
    culprits: tuple[str, ...] = ()


def count(text: str) -> SegmentInfo:
    """Return the encoding, size and segments of ``text``."""
    culprits = tuple(dict.fromkeys(c for c in text if c not in _GSM_BASIC and c not in _GSM_EXTENSION))
    if culprits:
        sizes = [2 if ord(character) > 0xFFFF else 1 for character in text]
        return SegmentInfo("UCS-2", sum(sizes), _segments(sizes, alone=70, joined=67), culprits)
    sizes = [2 if character in _GSM_EXTENSION else 1 for character in text]
    return SegmentInfo("GSM-7", sum(sizes), _segments(sizes, alone=160, joined=153))


def _segments(sizes: Iterable[int], *, alone: int, joined: int) -> int:
    """Fill segment after segment. A character that does not fit as a whole starts the next one."""
    sizes = list(sizes)
    if sum(sizes) <= alone:
        return 1 if sizes else 0
    segments, used = 1, 0
    for size in sizes:
        if used + size > joined:
            segments, used = segments + 1, 0
        used += size
    return segments
