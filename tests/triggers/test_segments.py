from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.triggers.segments import count

GSM = "aZ9 @\n£ÄñΩ"
EXTENDED = "€[]{}\\^~|\f"
WIDE = "😀🇫🎉"  # each is a surrogate pair in UTF-16
TEXTS = st.text(st.sampled_from(GSM + EXTENDED)) | st.text(st.sampled_from("a€é’—漢" + WIDE))


@pytest.mark.parametrize(
    ("text", "encoding", "units", "segments"),
    [
        ("", "GSM-7", 0, 0),
        ("a", "GSM-7", 1, 1),
        ("a" * 160, "GSM-7", 160, 1),
        ("a" * 161, "GSM-7", 161, 2),
        ("a" * 306, "GSM-7", 306, 2),
        ("a" * 307, "GSM-7", 307, 3),
        ("a" * 1530, "GSM-7", 1530, 10),
        ("€" * 80, "GSM-7", 160, 1),
        ("a" * 159 + "€", "GSM-7", 161, 2),
        # The escape pair of "€" does not fit into septet 153: it moves on as a whole, and what follows with it.
        ("a" * 152 + "€" + "a" * 151, "GSM-7", 305, 2),
        ("a" * 152 + "€" + "a" * 152, "GSM-7", 306, 3),
        ("é" * 160, "GSM-7", 160, 1),
        ("ê" * 70, "UCS-2", 70, 1),
        ("ê" * 71, "UCS-2", 71, 2),
        ("ê" * 134, "UCS-2", 134, 2),
        ("ê" * 135, "UCS-2", 135, 3),
        ("’" + "a" * 69, "UCS-2", 70, 1),
        ("’" + "a" * 70, "UCS-2", 71, 2),
        ("😀" * 35, "UCS-2", 70, 1),
        ("😀" * 36, "UCS-2", 72, 2),
        # 67 is odd: one unit of each full segment stays empty rather than splitting an emoji.
        ("😀" * 66, "UCS-2", 132, 2),
        ("😀" * 67, "UCS-2", 134, 3),
        ("’" + "€" * 69, "UCS-2", 70, 1),
    ],
)
def test_counts(text: str, encoding: str, units: int, segments: int) -> None:
    info = count(text)
    assert (info.encoding, info.units, info.segments) == (encoding, units, segments)


def test_culprits_are_named_once_and_in_order() -> None:
    assert count("It’s “ready”’ 😀").culprits == ("’", "“", "”", "😀")
    assert count("It's ready [€5]").culprits == ()


@given(TEXTS)
def test_units_are_what_the_encoding_says(text: str) -> None:
    info = count(text)
    if info.encoding == "UCS-2":
        assert info.units == len(text.encode("utf-16-le")) // 2
    else:
        assert info.units == len(text) + sum(text.count(c) for c in EXTENDED)


@given(TEXTS)
def test_segments_are_as_few_as_can_hold_the_text_without_splitting_a_character(text: str) -> None:
    info = count(text)
    alone, joined = (160, 153) if info.encoding == "GSM-7" else (70, 67)
    assert (info.segments <= 1) == (info.units <= alone)
    if info.segments > 1:
        pieces = list(_pieces(text, info.encoding, joined))
        assert "".join(pieces) == text
        assert info.segments == len(pieces)


def _pieces(text: str, encoding: str, room: int) -> Iterator[str]:
    """The longest prefix that fits, again and again: no split of the same text needs fewer pieces."""
    while text:
        end = len(text)
        while _units(text[:end], encoding) > room:
            end -= 1
        yield text[:end]
        text = text[end:]


def _units(text: str, encoding: str) -> int:
    if encoding == "UCS-2":
        return len(text.encode("utf-16-le")) // 2
    return len(text) + sum(text.count(c) for c in EXTENDED)


@given(TEXTS, TEXTS)
def test_more_text_never_needs_less(first: str, second: str) -> None:
    together = count(first + second)
    assert together.segments >= max(count(first).segments, count(second).segments)
    assert set(together.culprits) == set(count(first).culprits) | set(count(second).culprits)
    if together.encoding == count(first).encoding == count(second).encoding:
        assert together.units == count(first).units + count(second).units
        assert together.segments <= count(first).segments + count(second).segments + 1
