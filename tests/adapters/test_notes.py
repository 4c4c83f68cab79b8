"""Texts as HTML notes: what people see, and how a note is found again."""

from __future__ import annotations

from html import escape

import pytest

from crm_adapters.notes import is_note_of, note_of
from crm_adapters.testing.samples import LOGGED_TEXTS, crm_message


def test_a_note_shows_the_whole_text() -> None:
    note = note_of(crm_message(1, 'two  <b>spaces</b>\n& "more"'))
    assert note == (
        "<p>Text received from +14155550101 to +14155550100</p>"
        "<p>two&nbsp; &lt;b&gt;spaces&lt;/b&gt;<br>&amp; &quot;more&quot;</p>"
        '<p><a href="https://example.com/a.png?b=1&amp;c=2">https://example.com/a.png?b=1&amp;c=2</a></p>'
        "<p>[vtsync m00000001]</p>"
    )


def test_a_text_that_was_sent_is_named_so() -> None:
    assert note_of(crm_message(2, direction="out")).startswith("<p>Text sent from ")


STORED = {
    "as it was written": lambda note: note,
    "with other tags": lambda note: f"<div>{note.replace('<p>', '<div>').replace('</p>', '</div>')}</div>",
    "escaped again": escape,
    "without tags": lambda note: note.replace("<p>", "").replace("</p>", " "),
    "with numeric entities": lambda note: note.replace("[", "&#91;").replace("]", "&#93;"),
}


@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("text", [*LOGGED_TEXTS, "[vtsync m00000009]"])
def test_a_note_is_found_however_the_crm_stores_it(stored: str, text: str) -> None:
    body = STORED[stored](note_of(crm_message(1, text)))
    assert is_note_of(body, "m00000001")
    assert not is_note_of(body, "m00000009")
    assert not is_note_of(body, "m0000000")


@pytest.mark.parametrize("body", [None, "", 7, [], {}, "[vtsync ]", "vtsync m00000001"])
def test_what_is_no_note(body: object) -> None:
    assert not is_note_of(body, "m00000001")
