"""Sample data: contacts, texts, and odd values that a CRM may hold."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from crm_adapters.base import CrmMessage

ODD_VALUES: tuple[Any, ...] = (
    *(None, "", " ", "\0", "n/a", "🦊" * 300, "\ud800", True, 0, -1, 10**400, 1.5, float("nan"), float("inf")),
    *([], ["x"], {}, {"a": [1]}, b"\xff", object()),
)
JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@dataclass(frozen=True, slots=True)
class SampleContact:
    """A person to create in the CRM. ``phone`` is in E.164 form."""

    external_id: str
    phone: str
    full_name: str
    email: str


def contact(number: int) -> SampleContact:
    """Return the contact with this number, always the same."""
    return SampleContact(f"{1000 + number}", f"+1415555{number:04}", f"Ann Lee{number}", f"ann{number}@example.com")


def contacts(count: int) -> list[SampleContact]:
    """Return this many different contacts."""
    return [contact(number) for number in range(count)]


NAMES: tuple[str, ...] = (
    *("Zo\u00eb O'Brien-\u0141uk", 'Ann "Annie" Lee, Jr.', "\u674e \u5c0f\u9f99"),
    *("\u0645\u0631\u064a\u0645 \u062d\u0633\u0646", "\u0130pek \u015eahin; x", "Ann \U0001f98a Lee"),
    *("Jo\u0308rg Stra\u00dfe", "Anne | Marie & <Co>"),
)
"""Names of people in several scripts, and with characters that break formats."""

LOGGED_TEXTS: tuple[str, ...] = (
    *("Hello", "", " two  spaces ", "line one\nline two\ttab", "👋🏽 İstanbul 你好 \u202eright", "x" * 1600),
    *("O'Brien; DROP TABLE texts; --", '"quoted" \\ back', "<b>&amp;</b>", "{{ liquid }} %s %(x)s :name ${y}"),
)
"""Texts as people write them. A CRM must store them unchanged."""


def crm_message(number: int = 1, text: str = "Hello", direction: str = "in") -> CrmMessage:
    """Return the text with this number, always the same."""
    moment = datetime(2026, 3, 1, 12, 30, 15, tzinfo=UTC)
    media = ("https://example.com/a.png?b=1&c=2",) if number % 2 else ()
    return CrmMessage(f"m{number:08}", direction, moment, text, media, "+14155550101", "+14155550100")
